// DuckDB behind the contract of guest/wit/engine.wit: one database, one connection, one run per instance.
#include "arrow_ipc.h"
#include "duckdb.hpp"
#include "duckdb/common/arrow/arrow_appender.hpp"
#include "duckdb/common/arrow/arrow_converter.hpp"
#include "duckdb/common/random_engine.hpp"
#include "duckdb/common/string_util.hpp"
#include "duckdb/common/type_visitor.hpp"
#include "duckdb/common/virtual_file_system.hpp"
#include "duckdb/main/client_config.hpp"
#include "duckdb/main/query_result_stream.hpp"
#include "inputs_fs.hpp"
#include "query_engine.h"

using namespace duckdb;

extern "C" int32_t duckdb_register_static_extensions(void);
extern "C" void eider_set_profile(const uint8_t seed[32], uint64_t wall_clock_ns);
extern "C" void __wasm_call_ctors();

// A record batch leaves when it has this many rows or bytes, whichever comes first: large enough that headers do not
// count, small enough that a wide result stays within memory.
static constexpr idx_t BATCH_ROWS = 64 * STANDARD_VECTOR_SIZE;
static constexpr idx_t BATCH_BYTES = 4u << 20;

static DuckDB *db;
static Connection *con;
// Before there is a job, while the snapshot is made, nothing leaves.
static bool has_job;

static query_engine_string_t Dup(const string &s) {
	query_engine_string_t r;
	query_engine_string_dup_n(&r, s.data(), s.size());
	return r;
}

extern "C" void exports_query_engine_describe(query_engine_description_t *ret) {
	auto list = [](std::initializer_list<const char *> items) {
		query_engine_list_string_t l;
		l.len = items.size();
		l.ptr = (query_engine_string_t *)malloc(sizeof(query_engine_string_t) * l.len);
		size_t i = 0;
		for (auto item : items) {
			l.ptr[i++] = Dup(item);
		}
		return l;
	};
	ret->name = Dup("duckdb");
	ret->version = Dup(DuckDB::LibraryVersion());
	ret->formats = list({"parquet", "csv", "json"});
	ret->extensions = list({"core_functions", "icu", "json", "parquet"});
}

namespace {

struct Failure {
	query_engine_failure_kind_t kind;
	string message;
};

// The kind of a failure follows the exception's type alone, never words of its message, which a query can write: where
// DuckDB's types say less than is meant, PATCHES in build.py mends them.
[[noreturn]] void Throw(const ErrorData &error, optional_idx kind = optional_idx()) {
	query_engine_failure_kind_t k = QUERY_ENGINE_FAILURE_KIND_QUERY;
	string note;
	switch (error.Type()) {
	case ExceptionType::MISSING_EXTENSION:
	case ExceptionType::AUTOLOAD:
		// DuckDB goes on to advise INSTALL and LOAD.
		note = "\nThe sandbox has no network, and installs and loads no extensions.";
		k = QUERY_ENGINE_FAILURE_KIND_DENIED;
		break;
	case ExceptionType::PERMISSION:
		k = QUERY_ENGINE_FAILURE_KIND_DENIED;
		break;
	case ExceptionType::OUT_OF_MEMORY:
		k = QUERY_ENGINE_FAILURE_KIND_MEMORY;
		break;
	case ExceptionType::IO:
	case ExceptionType::DATA_CORRUPTION:
		// A job without inputs has none that could be at fault: DuckDB reads values of the query's as if they were files.
		k = eider::Inputs().empty() ? QUERY_ENGINE_FAILURE_KIND_QUERY : QUERY_ENGINE_FAILURE_KIND_INPUT;
		break;
	case ExceptionType::INTERNAL:
	case ExceptionType::FATAL:
		k = QUERY_ENGINE_FAILURE_KIND_INTERNAL;
		break;
	default:
		if (kind.IsValid()) {
			k = (query_engine_failure_kind_t)kind.GetIndex();
		}
	}
	throw Failure {k, error.Message() + note};
}

void Execute(const string &sql, optional_idx kind = optional_idx()) {
	auto r = con->Query(sql);
	if (r->HasError()) {
		Throw(r->GetErrorObject(), kind);
	}
}

// A view binds to its files, which reads their footers: make those that the text can refer to.
bool Mentions(const string &lower_sql, const string &table) {
	static const char *catalog_words[] = {"show", "describe", "schema", "duckdb_", "pragma", "summarize"};
	for (auto word : catalog_words) {
		if (lower_sql.find(word) != string::npos) {
			return true;
		}
	}
	return lower_sql.find(StringUtil::Lower(table)) != string::npos;
}

void MakeViews(const string &sql) {
	auto lower = StringUtil::Lower(sql);
	case_insensitive_set_t made;
	for (auto &i : eider::Inputs()) {
		if (!made.insert(i.table).second || !Mentions(lower, i.table)) {
			continue;
		}
		auto name = StringUtil::Replace(i.table, "\"", "\"\"");
		auto literal = StringUtil::Replace(i.table, "'", "''");
		Execute("CREATE VIEW \"" + name + "\" AS SELECT * FROM read_" + i.format + "('" + literal + "')",
		        (idx_t)QUERY_ENGINE_FAILURE_KIND_INPUT);
	}
}

// Types whose Arrow form would lose something leave as their text; `duckdb.type` keeps what they were. HUGEINT leaves
// as DECIMAL(38,0), whose 128 bits hold it whole. A UNION leaves as a struct of its tag and its members, of which the
// tagged one alone can have a value, since neither Parquet nor most readers of Arrow know unions.
LogicalType ExportedType(const LogicalType &type) {
	switch (type.id()) {
	case LogicalTypeId::ENUM:
	case LogicalTypeId::UHUGEINT:
	case LogicalTypeId::TIME_TZ:
	case LogicalTypeId::BIT:
	case LogicalTypeId::BIGNUM:
	case LogicalTypeId::GEOMETRY:
	case LogicalTypeId::VARIANT:
		return LogicalType::VARCHAR;
	case LogicalTypeId::SQLNULL:
		return LogicalType::INTEGER;
	case LogicalTypeId::LIST:
		return LogicalType::LIST(ExportedType(ListType::GetChildType(type)));
	case LogicalTypeId::ARRAY:
		return LogicalType::ARRAY(ExportedType(ArrayType::GetChildType(type)), ArrayType::GetSize(type));
	case LogicalTypeId::MAP:
		return LogicalType::MAP(ExportedType(MapType::KeyType(type)), ExportedType(MapType::ValueType(type)));
	case LogicalTypeId::STRUCT:
	case LogicalTypeId::TUPLE: {
		child_list_t<LogicalType> children;
		for (auto &c : StructType::GetChildTypes(type)) {
			children.emplace_back(c.first, ExportedType(c.second));
		}
		return type.id() == LogicalTypeId::TUPLE ? LogicalType::TUPLE(std::move(children)) : LogicalType::STRUCT(std::move(children));
	}
	case LogicalTypeId::UNION: {
		case_insensitive_set_t names;
		auto members = UnionType::CopyMemberTypes(type);
		for (auto &m : members) {
			names.insert(m.first.GetIdentifierName());
		}
		string tag = "tag";
		while (names.count(tag)) {
			tag += "_";
		}
		child_list_t<LogicalType> children {{Identifier(tag), LogicalType::VARCHAR}};
		for (auto &m : members) {
			children.emplace_back(m.first, ExportedType(m.second));
		}
		return LogicalType::STRUCT(std::move(children));
	}
	default:
		return type;
	}
}

Value Exported(const Value &value, const LogicalType &to);

vector<Value> AllExported(const vector<Value> &values, const LogicalType &to) {
	vector<Value> exported;
	for (auto &v : values) {
		exported.push_back(Exported(v, to));
	}
	return exported;
}

// `value` as its exported type. DuckDB has no cast out of a UNION into anything but text: what has one in it goes value by value.
Value Exported(const Value &value, const LogicalType &to) {
	auto &from = value.type();
	if (value.IsNull()) {
		return Value(to);
	}
	if (!TypeVisitor::Contains(from, LogicalTypeId::UNION)) {
		return value.CastAs(*con->context, to);
	}
	switch (from.id()) {
	case LogicalTypeId::LIST:
		return Value::LIST(ListType::GetChildType(to), AllExported(ListValue::GetChildren(value), ListType::GetChildType(to)));
	case LogicalTypeId::ARRAY:
		return Value::ARRAY(ArrayType::GetChildType(to), AllExported(ArrayValue::GetChildren(value), ArrayType::GetChildType(to)));
	case LogicalTypeId::MAP: {
		vector<Value> keys, values;
		for (auto &entry : MapValue::GetChildren(value)) {
			auto &pair = StructValue::GetChildren(entry);
			keys.push_back(Exported(pair[0], MapType::KeyType(to)));
			values.push_back(Exported(pair[1], MapType::ValueType(to)));
		}
		return Value::MAP(MapType::KeyType(to), MapType::ValueType(to), std::move(keys), std::move(values));
	}
	case LogicalTypeId::UNION: {
		auto tag = UnionValue::GetTag(value);
		vector<Value> fields {Value(UnionType::GetMemberName(from, tag).GetIdentifierName())};
		for (idx_t i = 0; i < UnionType::GetMemberCount(from); i++) {
			auto &type = StructType::GetChildType(to, i + 1);
			fields.push_back(i == tag ? Exported(UnionValue::GetValue(value), type) : Value(type));
		}
		return Value::STRUCT(to, std::move(fields));
	}
	default: {
		auto &children = StructValue::GetChildren(value);
		vector<Value> fields;
		for (idx_t i = 0; i < children.size(); i++) {
			fields.push_back(Exported(children[i], StructType::GetChildType(to, i)));
		}
		return Value::STRUCT(to, std::move(fields));
	}
	}
}

void Sink(const uint8_t *bytes, uint32_t n) {
	if (has_job) {
		query_engine_list_u8_t l {const_cast<uint8_t *>(bytes), n};
		eider_engine_results_write(&l);
	}
}

class ResultWriter {
public:
	explicit ResultWriter(ResultStreamBase &stream) : properties(stream.GetClientProperties()) {
		properties.time_zone = "UTC";
		vector<string> names, texts;
		for (idx_t c = 0; c < stream.ColumnCount(); c++) {
			auto &type = stream.GetTypes()[c];
			names.push_back(stream.ColumnName(c).GetIdentifierName());
			texts.push_back(type.ToString());
			types.push_back(ExportedType(type));
			forms.push_back(types.back() == type                                   ? Form::SAME
			                : TypeVisitor::Contains(type, LogicalTypeId::UNION) ? Form::VALUES
			                                                                    : Form::CAST);
		}
		ArrowSchema schema;
		schema.Init();
		ArrowConverter::ToArrowSchema(&schema, types, names, properties);
		vector<const char *> raw;
		for (auto &t : texts) {
			raw.push_back(t.c_str());
		}
		ipc = eider_ipc_open(&schema, raw.data(), Sink, error);
		schema.release(&schema);
		Check(ipc != nullptr);
		chunk.Initialize(Allocator::DefaultAllocator(), types);
	}
	void Append(DataChunk &rows_in) {
		if (!appender) {
			appender = make_uniq<ArrowAppender>(types, STANDARD_VECTOR_SIZE, properties,
			                                    unordered_map<idx_t, const shared_ptr<ArrowTypeExtensionData>>());
		}
		auto n = rows_in.size();
		chunk.Reset();
		for (idx_t c = 0; c < types.size(); c++) {
			switch (forms[c]) {
			case Form::SAME:
				chunk.data[c].Reference(rows_in.data[c]);
				break;
			case Form::CAST:
				VectorOperations::Cast(*con->context, rows_in.data[c], chunk.data[c], n);
				break;
			case Form::VALUES:
				for (idx_t r = 0; r < n; r++) {
					chunk.data[c].SetValue(r, Exported(rows_in.data[c].GetValue(r), types[c]));
				}
				break;
			}
		}
		chunk.SetCardinality(n);
		appender->Append(chunk, 0, n, n);
		rows += n;
		if (appender->RowCount() >= BATCH_ROWS || appender->ByteSize() >= BATCH_BYTES) {
			Flush();
		}
	}
	uint64_t Finish() {
		Flush();
		Check(eider_ipc_close(ipc, error) == 0);
		return rows;
	}

private:
	// How a column's values become those of its exported type.
	enum class Form { SAME, CAST, VALUES };

	void Flush() {
		if (!appender) {
			return;
		}
		auto array = appender->Finalize();
		appender.reset();
		int rc = eider_ipc_batch(ipc, &array, error);
		if (array.release) {
			array.release(&array);
		}
		Check(rc == 0);
	}
	void Check(bool ok) {
		if (!ok) {
			throw Failure {QUERY_ENGINE_FAILURE_KIND_QUERY, string("this result has no Arrow form: ") + error};
		}
	}
	ClientProperties properties;
	vector<LogicalType> types;
	vector<Form> forms;
	DataChunk chunk;
	unique_ptr<ArrowAppender> appender;
	eider_ipc *ipc = nullptr;
	uint64_t rows = 0;
	char error[1024] = {0};
};

void ReportProgress() {
	auto percent = con->context->GetQueryProgress().GetPercentage();
	if (has_job && percent >= 0) {
		eider_engine_progress_report((uint32_t)MinValue<double>(percent * 100, 10000));
	}
}

// What a SET statement does, without the third of a millisecond that parsing and planning one takes.
void SetOption(const char *name, const Value &value) {
	auto &instance = *con->context->db;
	DBConfig::GetConfig(instance).SetOption(&instance, *DBConfig::GetOptionByName(name), value);
}

// Runs one statement; the rows of the last one go to the result.
uint64_t RunStatement(unique_ptr<SQLStatement> statement, bool last) {
	auto submitted = con->Submit(std::move(statement));
	if (submitted->HasError()) {
		Throw(submitted->GetErrorObject());
	}
	QueryResultStream<> stream(std::move(submitted));
	unique_ptr<ResultWriter> writer;
	while (true) {
		unique_ptr<DataChunk> rows;
		auto state = stream.TryFetch(rows);
		if (stream.HasError()) {
			Throw(stream.GetErrorObject());
		}
		if (rows && rows->size() > 0) {
			if (last) {
				if (!writer) {
					writer = make_uniq<ResultWriter>(stream);
				}
				writer->Append(*rows);
			}
		} else if (state == QueryResultState::FINISHED) {
			break;
		} else if (!rows) {
			stream.ExecuteTask();
			ReportProgress();
		}
	}
	if (!last) {
		return 0;
	}
	if (!writer) {
		writer = make_uniq<ResultWriter>(stream);
	}
	return writer->Finish();
}

// Runs all statements of a query.
uint64_t RunAll(const string &sql) {
	auto statements = con->ExtractStatements(sql);
	if (statements.empty()) {
		throw Failure {QUERY_ENGINE_FAILURE_KIND_QUERY, "there is no statement in the query"};
	}
	for (auto &statement : statements) {
		if (statement->type == StatementType::LOAD_STATEMENT || statement->type == StatementType::UPDATE_EXTENSIONS_STATEMENT) {
			throw Failure {QUERY_ENGINE_FAILURE_KIND_DENIED,
			               "Permission Error: the sandbox installs and loads no extensions; core_functions, icu, json and "
			               "parquet are linked in"};
		}
	}
	uint64_t rows = 0;
	for (idx_t i = 0; i < statements.size(); i++) {
		rows = RunStatement(std::move(statements[i]), i + 1 == statements.size());
	}
	return rows;
}

uint64_t Run(const string &sql, int64_t time_us, const uint8_t seed[32], uint64_t memory) {
	has_job = true;
	eider_set_profile(seed, (uint64_t)time_us * 1000);
	uint64_t random_seed;
	memcpy(&random_seed, seed, sizeof random_seed);
	RandomEngine::Get(*con->context).SetSeed(random_seed);
	// A fifth of the job's memory is for what DuckDB's buffer manager does not count.
	SetOption("memory_limit", Value(to_string((memory - memory / 5) / 1024) + "KiB"));
	MakeViews(sql);
	SetOption("lock_configuration", Value::BOOLEAN(true));
	return RunAll(sql);
}

} // namespace

extern "C" void exports_query_engine_init(void) {
	if (con) {
		return;
	}
	// Constructors run here, before the snapshot, and never again.
	__wasm_call_ctors();
	const uint8_t seed[32] = {'e', 'i', 'd', 'e', 'r', ' ', 's', 'n', 'a', 'p', 's', 'h', 'o', 't'};
	eider_set_profile(seed, 0);
	if (duckdb_register_static_extensions() != 0) {
		__builtin_trap();
	}
	DBConfig config;
	config.file_system = make_uniq<VirtualFileSystem>(eider::MakeInputFileSystem());
	config.SetOptionByName("temp_directory", Value(""));
	// Stored secrets would go past our file system; libc refuses them too, but with an error that nobody understands.
	config.SetOptionByName("allow_persistent_secrets", Value::BOOLEAN(false));
	db = new DuckDB(nullptr, &config);
	con = new Connection(*db);
	auto &client = ClientConfig::GetConfig(*con->context);
	client.enable_progress_bar = true;
	client.print_progress_bar = false;
	client.wait_time = 0;
	if (con->Query("SET TimeZone = 'UTC'")->HasError()) {
		__builtin_trap();
	}
	// What a connection's first query and first result set up, the snapshot has, and the heap that they need.
	RunAll("SELECT 1");
}

extern "C" bool exports_query_engine_run(query_engine_job_t *job, query_engine_summary_t *ret, query_engine_failure_t *err) {
	exports_query_engine_init();
	Failure failure {QUERY_ENGINE_FAILURE_KIND_INTERNAL, "unknown exception"};
	try {
		if (job->seed.len != 32) {
			throw Failure {QUERY_ENGINE_FAILURE_KIND_INTERNAL, "the job's seed must have 32 bytes"};
		}
		ret->rows = Run(string((const char *)job->sql.ptr, job->sql.len), job->time_us, job->seed.ptr, job->memory);
		return true;
	} catch (Failure &f) {
		failure = f;
	} catch (std::bad_alloc &) {
		failure = {QUERY_ENGINE_FAILURE_KIND_MEMORY, "Out of Memory Error: the job's memory is used up"};
	} catch (std::exception &e) {
		ErrorData error(e);
		try {
			Throw(error);
		} catch (Failure &f) {
			failure = f;
		}
	} catch (...) {
	}
	err->kind = failure.kind;
	err->message = Dup(failure.message);
	return false;
}
