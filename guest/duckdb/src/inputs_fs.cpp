#include "inputs_fs.hpp"
#include "duckdb/function/scalar/string_common.hpp"
#include "query_engine.h"
#include <cstdlib>
#include <cstring>

using namespace duckdb;

// While a read is in flight, the host's bytes are lowered straight into DuckDB's buffer.
static void *read_target;
static size_t read_target_len;

extern "C" __attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *p, size_t, size_t align, size_t n) {
	if (n == 0) {
		return (void *)align;
	}
	if (read_target && !p && align == 1 && n == read_target_len) {
		return std::exchange(read_target, nullptr);
	}
	void *r = realloc(p, n);
	if (!r) {
		abort();
	}
	return r;
}

namespace eider {

static constexpr uint32_t READ_MAX = 8u << 20; // bytes per host call; the contract allows 16 MiB

const vector<Input> &Inputs() {
	static vector<Input> *inputs = nullptr;
	if (!inputs) {
		inputs = new vector<Input>();
		eider_engine_inputs_list_input_t l;
		eider_engine_inputs_list(&l);
		auto str = [](const query_engine_string_t &s) { return std::string((const char *)s.ptr, s.len); };
		for (size_t i = 0; i < l.len; i++) {
			inputs->push_back({str(l.ptr[i].table), str(l.ptr[i].file), str(l.ptr[i].format), l.ptr[i].size});
		}
		eider_engine_inputs_list_input_free(&l);
	}
	return *inputs;
}

static optional_idx Find(const string &path) {
	auto &inputs = Inputs();
	for (idx_t i = 0; i < inputs.size(); i++) {
		if (inputs[i].file == path) {
			return i;
		}
	}
	return optional_idx();
}

[[noreturn]] static void NotGranted(const string &path) {
	throw PermissionException("\"%s\" is not an input of this job: the sandbox has no files and no network, only the "
	                          "inputs that were granted by name",
	                          path);
}
[[noreturn]] static void NoWriting(const string &path) {
	throw PermissionException("cannot write \"%s\": the sandbox has nothing to write to, only the result leaves it", path);
}

struct InputHandle : public FileHandle {
	InputHandle(FileSystem &fs, string path, FileOpenFlags flags, uint32_t index, idx_t size)
	    : FileHandle(fs, std::move(path), std::move(flags)), index(index), size(size) {
	}
	void Close() override {
	}
	uint32_t index;
	idx_t size;
	idx_t pos = 0;
};

class InputFileSystem : public FileSystem {
public:
	std::string GetName() const override {
		return "inputs";
	}
	bool CanHandleFile(const string &) override {
		return true;
	}
	unique_ptr<FileHandle> OpenFile(const string &path, FileOpenFlags flags, optional_ptr<FileOpener>) override {
		if (flags.OpenForWriting() || flags.CreateFileIfNotExists() || flags.OverwriteExistingFile() || flags.OpenForAppending()) {
			NoWriting(path);
		}
		auto i = Find(path);
		if (!i.IsValid()) {
			// Who asks for a lock opens a database and has looked before whether it is there.
			if (flags.ReturnNullIfNotExists() && flags.Lock() == FileLockType::NO_LOCK) {
				return nullptr;
			}
			NotGranted(path);
		}
		return make_uniq<InputHandle>(*this, path, flags, (uint32_t)i.GetIndex(), Inputs()[i.GetIndex()].size);
	}
	void ReadAt(InputHandle &h, char *buf, idx_t n, idx_t offset) {
		while (n) {
			uint32_t part = (uint32_t)MinValue<idx_t>(n, READ_MAX);
			query_engine_list_u8_t r;
			read_target = buf;
			read_target_len = part;
			eider_engine_inputs_read(h.index, offset, part, &r);
			read_target = nullptr;
			if ((char *)r.ptr != buf) {
				memcpy(buf, r.ptr, MinValue<size_t>(r.len, part));
				query_engine_list_u8_free(&r);
			}
			if (r.len != part) {
				throw IOException("short read of input \"%s\"", h.path);
			}
			buf += part;
			offset += part;
			n -= part;
		}
	}
	void Read(FileHandle &handle, void *buffer, int64_t n, idx_t location) override {
		auto &h = handle.Cast<InputHandle>();
		if (n < 0 || location > h.size || (idx_t)n > h.size - location) {
			throw IOException("read past the end of input \"%s\" (%llu bytes): it is truncated or not what it claims to be",
			                  h.path, h.size);
		}
		ReadAt(h, (char *)buffer, n, location);
	}
	int64_t Read(FileHandle &handle, void *buffer, int64_t n) override {
		auto &h = handle.Cast<InputHandle>();
		idx_t part = h.pos >= h.size ? 0 : MinValue<idx_t>(n, h.size - h.pos);
		ReadAt(h, (char *)buffer, part, h.pos);
		h.pos += part;
		return part;
	}
	void Write(FileHandle &h, void *, int64_t, idx_t) override {
		NoWriting(h.path);
	}
	int64_t Write(FileHandle &h, void *, int64_t) override {
		NoWriting(h.path);
	}
	int64_t GetFileSize(FileHandle &h) override {
		return h.Cast<InputHandle>().size;
	}
	timestamp_t GetLastModifiedTime(FileHandle &) override {
		return timestamp_t(0);
	}
	string GetVersionTag(FileHandle &) override {
		return "1";
	}
	FileType GetFileType(FileHandle &) override {
		return FileType::FILE_TYPE_REGULAR;
	}
	FileMetadata Stats(FileHandle &h) override {
		FileMetadata m;
		m.file_size = GetFileSize(h);
		m.last_modification_time = timestamp_t(0);
		m.file_type = FileType::FILE_TYPE_REGULAR;
		m.version_tag = "1";
		return m;
	}
	void Truncate(FileHandle &h, int64_t) override {
		NoWriting(h.path);
	}
	bool DirectoryExists(const string &, optional_ptr<FileOpener>) override {
		return false;
	}
	void CreateDirectory(const string &path, optional_ptr<FileOpener>) override {
		NoWriting(path);
	}
	void RemoveDirectory(const string &path, optional_ptr<FileOpener>) override {
		NoWriting(path);
	}
	bool ListFiles(const string &, const std::function<void(const string &, bool)> &, FileOpener *) override {
		return false;
	}
	void MoveFile(const string &path, const string &, optional_ptr<FileOpener>) override {
		NoWriting(path);
	}
	bool FileExists(const string &path, optional_ptr<FileOpener>) override {
		return Find(path).IsValid();
	}
	bool IsPipe(const string &, optional_ptr<FileOpener>) override {
		return false;
	}
	void RemoveFile(const string &path, optional_ptr<FileOpener>) override {
		NoWriting(path);
	}
	bool TryRemoveFile(const string &, optional_ptr<FileOpener>) override {
		return false;
	}
	void FileSync(FileHandle &) override {
	}
	string CanonicalizePath(const string &path, optional_ptr<FileOpener>) override {
		return path;
	}
	string PathSeparator(const string &) override {
		return "/";
	}
	// A table's name stands for all its files; a path that matches nothing is an error and not zero rows.
	vector<OpenFileInfo> Glob(const string &path, FileOpener *) override {
		vector<OpenFileInfo> found;
		bool pattern = HasGlob(path);
		for (auto &i : Inputs()) {
			if (i.file == path || i.table == path ||
			    (pattern && duckdb::Glob(i.file.data(), i.file.size(), path.data(), path.size()))) {
				found.emplace_back(i.file);
			}
		}
		if (found.empty()) {
			NotGranted(path);
		}
		return found;
	}
	void Seek(FileHandle &h, idx_t location) override {
		h.Cast<InputHandle>().pos = location;
	}
	void Reset(FileHandle &h) override {
		h.Cast<InputHandle>().pos = 0;
	}
	idx_t SeekPosition(FileHandle &h) override {
		return h.Cast<InputHandle>().pos;
	}
	bool CanSeek() override {
		return true;
	}
	bool OnDiskFile(FileHandle &) override {
		return true;
	}
};

unique_ptr<FileSystem> MakeInputFileSystem() {
	return make_uniq<InputFileSystem>();
}

} // namespace eider
