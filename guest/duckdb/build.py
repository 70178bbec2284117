#!/usr/bin/env python3
"""Builds the DuckDB engine from source: a WebAssembly component whose only imports are ours.

Everything comes from package registries, each file pinned by its SHA-256 below; what is edited is in PATCHES.
Steps (each is skipped when its outputs stand): fetch, runtime (libc, libc++ with wasm exceptions),
compile (DuckDB, ~25 min on two cores), link, and, by the `engine-build` tool in this folder, bindings,
componentize and snapshot. `make engine` does the whole.

Usage: build.py PRODUCT PATH_OF_ENGINE_BUILD LOCK_FILE
"""
import concurrent.futures, hashlib, json, os, re, shutil, subprocess, sys, tarfile, time, urllib.parse, urllib.request, zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
JOBS = int(os.environ.get("EIDER_ENGINE_JOBS") or os.cpu_count() or 2)

# name -> (index, file, sha256). The compiler and the two source archives come from PyPI, the rest from crates.io.
WHEELS = {
    "ziglang": ("ziglang-0.17.0-py3-none-manylinux_2_12_x86_64.manylinux2010_x86_64.musllinux_1_1_x86_64.whl",
                "97079827064a7492cce5541ceb438ae8003ce1e54e399676da2d62fb7a5dc08b"),
    "duckdb": ("duckdb-2.0.0.tar.gz", "09de511ef0dc76a5213e8d3d87a8b89bb4d3e8a6fe73a9f60dc001269946b44f"),
    "nanoarrow": ("nanoarrow-0.9.0.tar.gz", "1ce15bbed8532839347faa78824c5dbd3769bff60661003e34c6fba5dd881bd3"),
}
# crate -> (version, file inside it, sha256 of that file)
CRATES = {
    "libduckdb-sys": ("1.20000.1", "duckdb.tar.gz", "14f16777c569dd0090db7c80dc7a1eba8ffbb36cf3f6e008dd9c002356162c29"),
    "libffi-sys": ("4.2.2", "libffi/src/dlmalloc.c", None),  # the reference dlmalloc 2.8.6; the crate is pinned by version
}
DLMALLOC_SHA256 = "da15b15192ab6ae5538f5418ad714260ef74dd243f9584302b501548d4f54c03"

# Sockets, dlopen and the generated loader have no place in the sandbox; src/extensions.cpp is our loader.
LEFT_OUT = ("static_extension_autoregister", "http_client_httplib", "generated_extension_loader", "extension_load_dynamic")

# file -> (text, its replacement, how often it stands there). zstd takes the width of its bit buffer from size_t, which is
# 32 bits here; WebAssembly has 64-bit registers all the same. A third of TPC-H's time over Parquet is spent in these loops.
# DuckDB counts bytes in 64 bits and gives them to malloc, which takes 32 here: without the checks, 4 GiB and a little are
# allocated as a little, and what follows is overwritten. Where yyjson finds that a size does not fit, DuckDB took the missing
# value for NULL or for an empty string.
# The kind of a failure follows the exception's type and never its text, which a query can write: so each exception has the type
# that it means, and what a reader of it should know here.
ZSTD = "duckdb/third_party/zstd"
ALLOCATOR = "duckdb/src/common/allocator"
NO_SECRETS = 'PermissionException("Persistent secrets are not available: the sandbox has nothing to write to, only the result leaves it.")'


def no_memory(error, what):
    """C++ that ends with the right type where yyjson's `error` says that memory did not suffice to read or write."""
    return (f"if ({error}.code == YYJSON_{what}_ERROR_MEMORY_ALLOCATION) "
            '{ throw OutOfMemoryException("the JSON value does not fit into memory"); }')


PATCHES = {
    f"{ALLOCATOR}/allocator_standard.cpp": [
        ("default_allocate_result = malloc(size);", "default_allocate_result = size > SIZE_MAX ? nullptr : malloc(size);", 1),
        ("return data_ptr_cast(realloc(pointer, size));",
         "return size > SIZE_MAX ? nullptr : data_ptr_cast(realloc(pointer, size));", 1)],
    f"{ALLOCATOR}/allocator.cpp": [
        ('InternalException("Requested allocation', 'OutOfMemoryException("Requested allocation', 1),
        ('InternalException(\n\t\t    "Requested re-allocation', 'OutOfMemoryException(\n\t\t    "Requested re-allocation', 1)],
    "duckdb/extension/core_functions/aggregate/holistic/reservoir_quantile.cpp": [
        ("v = (T *)realloc(v,", "v = new_len > SIZE_MAX / sizeof(T) ? nullptr : (T *)realloc(v,", 1),
        ('InternalException("Memory allocation failure")', 'OutOfMemoryException("the sample does not fit into memory")', 1)],
    "duckdb/src/include/duckdb/common/exception/catalog_exception.hpp": [
        ("\tDUCKDB_API explicit CatalogException(const string &msg);",
         "\tDUCKDB_API explicit CatalogException(const string &msg);\n\n"
         "\tCatalogException(ExceptionType type, const string &msg) : Exception(type, msg) {\n\t}", 1)],
    "duckdb/src/catalog/catalog.cpp": [
        ("return CatalogException(error_message);", "return CatalogException(ExceptionType::MISSING_EXTENSION, error_message);", 2)],
    "duckdb/src/planner/binder/statement/bind_copy.cpp": [
        ('CatalogException(\n\t\t\t    "Copy Function with', 'MissingExtensionException(\n\t\t\t    "Copy Function with', 1)],
    "duckdb/src/execution/operator/csv_scanner/encode/csv_encoder.cpp": [
        ("throw InvalidInputException(error.str());", "throw MissingExtensionException(error.str());", 1)],
    "duckdb/src/main/database.cpp": [
        ('InvalidConfigurationException(" DuckDB currently', 'MissingExtensionException("DuckDB currently', 1)],
    "duckdb/src/main/secret/secret_manager.cpp": [
        ("throw InvalidInputException(error_message);",
         "throw Exception(entry.empty() ? ExceptionType::INVALID_INPUT : ExceptionType::MISSING_EXTENSION, error_message);", 2),
        ('InvalidInputException("Persistent secrets are disabled. Restart DuckDB and enable persistent secrets "\n'
         '\t\t\t                            "through \'SET allow_persistent_secrets=true\'");', f"{NO_SECRETS};", 1),
        ('InvalidInputException(\n\t\t\t\t    "Persistent secrets are currently disabled. To enable them, restart duckdb and "\n'
         '\t\t\t\t    "run \'SET allow_persistent_secrets=true\'");', f"{NO_SECRETS};", 1)],
    "duckdb/src/main/config.cpp": [
        ('InvalidInputException("Cannot change configuration option \\"%s\\" - the configuration has been locked"',
         'PermissionException("Cannot change configuration option \\"%s\\" - the configuration has been locked\\n'
         'The job\'s profile fixes all settings, so that every worker gets the same result."', 1)],
    "duckdb/src/common/thread_util.cpp": [
        (f'InvalidInputException("ThreadUtil::{name} requires DuckDB to be compiled with thread support")',
         'PermissionException("The sandbox has no clock to wait by.")', 1) for name in ("SleepMs", "SleepMicroSeconds")],
    "duckdb/src/common/json_document.cpp": [
        ("\t\terror.has_error = true;\n\t\terror.position = read_error.pos;",
         f"\t\t{no_memory('read_error', 'READ')}\n\t\terror.has_error = true;\n\t\terror.position = read_error.pos;", 1),
        ("\tif (!json) {\n\t\tthrow SerializationException(\"Failed to write JSON string: %s\", err.msg);",
         f"\tif (!json) {{\n\t\t{no_memory('err', 'WRITE')}\n\t\tthrow SerializationException(\"Failed to write JSON string: %s\", err.msg);", 1)],
    "duckdb/src/include/duckdb/function/cast/variant/json_to_variant.hpp": [
        ("\t\tauto doc = yyjson_read_opts(", "\t\tyyjson_read_err read_error;\n\t\tauto doc = yyjson_read_opts(", 1),
        ("json_allocator.GetYYAlc(), nullptr);\n\t\tif (!doc) {",
         f"json_allocator.GetYYAlc(), &read_error);\n\t\tif (!doc) {{\n\t\t\t{no_memory('read_error', 'READ')}", 1)],
    "duckdb/extension/json/include/json_common.hpp": [
        ("\t\tD_ASSERT(error.code != YYJSON_READ_SUCCESS);",
         f"\t\tD_ASSERT(error.code != YYJSON_READ_SUCCESS);\n\t\t{no_memory('error', 'READ')}", 1),
        *((f"\tauto ret = {function}(val, JSONCommon::WRITE_FLAG, alc, &len_size_t, nullptr);",
           f"\tyyjson_write_err err;\n\tauto ret = {function}(val, JSONCommon::WRITE_FLAG, alc, &len_size_t, &err);\n"
           f"\tif (!ret) {{\n\t\t{no_memory('err', 'WRITE')}\n\t}}", 1) for function in ("yyjson_val_write_opts", "yyjson_mut_val_write_opts"))],
    "duckdb/extension/json/json_functions/json_pretty.cpp": [
        ("\tauto data = yyjson_val_write_opts(val, JSONCommon::WRITE_PRETTY_FLAG, alc, &len_size_t, nullptr);",
         "\tyyjson_write_err err;\n\tauto data = yyjson_val_write_opts(val, JSONCommon::WRITE_PRETTY_FLAG, alc, &len_size_t, &err);\n"
         f"\tif (!data) {{\n\t\t{no_memory('err', 'WRITE')}\n\t}}", 1)],
    "duckdb/extension/json/json_reader.cpp": [
        ("                               const string &extra) {\n\tstring unit",
         f"                               const string &extra) {{\n\t{no_memory('err', 'READ')}\n\tstring unit", 1)],
    f"{ZSTD}/include/zstd/common/bitstream.h": [
        ("typedef size_t BitContainerType;", "typedef U64 BitContainerType;", 1),
        ("MEM_readLEST(bitD->ptr)", "MEM_readLE64(bitD->ptr)", 3),
        ("((U32)(MEM_32bits() ? STREAM_ACCUMULATOR_MIN_32 : STREAM_ACCUMULATOR_MIN_64))", "((U32)STREAM_ACCUMULATOR_MIN_64)", 1)],
    f"{ZSTD}/decompress/zstd_decompress_block.cpp": [
        ("if (MEM_32bits() && longOffsets", "if (0 && longOffsets", 1),
        ("if (MEM_32bits()) BIT_reloadDStream", "if (0) BIT_reloadDStream", 2),
        ("if (MEM_32bits() && (mlBits+llBits", "if (0 && (mlBits+llBits", 1),
        ("if (MEM_64bits() && UNLIKELY(totalBits", "if (UNLIKELY(totalBits", 1),
        ("        if (MEM_32bits())\n            BIT_reloadDStream(&seqState->DStream);\n\n        DEBUGLOG", "        DEBUGLOG", 1),
        ("    if (MEM_64bits()) {\n        /* We can decode any offset", "    if (1) {\n        /* We can decode any offset", 1),
        ("(ZSTD_longOffset_e)(MEM_32bits() && (totalHistorySize > ZSTD_maxShortOffset()))", "ZSTD_lo_isRegularOffset", 1)],
    f"{ZSTD}/decompress/huf_decompress.cpp": [
        ("static size_t HUF_initFastDStream", "static U64 HUF_initFastDStream", 1),
        ("size_t const value = MEM_readLEST(ip) | 1;", "U64 const value = MEM_readLE64(ip) | 1;", 1),
        ("bit->bitContainer = MEM_readLEST(", "bit->bitContainer = MEM_readLE64(", 1),
        ("MEM_32bits()", "0", 4), ("MEM_64bits()", "1", 5), ("sizeof(size_t)", "sizeof(U64)", 6)],
}

DEFINES = ["-DDUCKDB_NO_THREADS=1", "-DDISABLE_DUCKDB_REMOTE_INSTALL=1", "-DDUCKDB_DISABLE_EXTENSION_LOAD=1",
           "-DDUCKDB_EXTENSION_AUTOINSTALL_DEFAULT=0", "-DDUCKDB_EXTENSION_AUTOLOAD_DEFAULT=0",
           "-DDUCKDB_EXTENSION_CORE_FUNCTIONS_LINKED=1", "-DDUCKDB_EXTENSION_PARQUET_LINKED=1",
           "-DDUCKDB_EXTENSION_JSON_LINKED=1", "-DDUCKDB_EXTENSION_ICU_LINKED=1", "-DNDEBUG"]
EMULATED = ["-D_WASI_EMULATED_MMAN", "-D_WASI_EMULATED_SIGNAL", "-D_WASI_EMULATED_PROCESS_CLOCKS", "-D_WASI_EMULATED_GETPID"]
LIBCXX = ("-D_LIBCPP_ABI_VERSION=1 -D_LIBCPP_ABI_NAMESPACE=__1 -D_LIBCPP_HAS_THREADS=1 -D_LIBCPP_HAS_THREAD_API_PTHREAD=1 "
          "-D_LIBCPP_HAS_MONOTONIC_CLOCK=1 -D_LIBCPP_HAS_TERMINAL=1 -D_LIBCPP_HAS_MUSL_LIBC=1 "
          "-D_LIBCXXABI_DISABLE_VISIBILITY_ANNOTATIONS -D_LIBCPP_DISABLE_VISIBILITY_ANNOTATIONS "
          "-D_LIBCPP_HAS_VENDOR_AVAILABILITY_ANNOTATIONS=0 -D_LIBCPP_HAS_FILESYSTEM=1 -D_LIBCPP_HAS_RANDOM_DEVICE=1 "
          "-D_LIBCPP_HAS_LOCALIZATION=1 -D_LIBCPP_HAS_UNICODE=1 -D_LIBCPP_HAS_WIDE_CHARACTERS=1 -D_LIBCPP_HAS_NO_STD_MODULES "
          "-D_LIBCPP_PSTL_BACKEND_SERIAL -D_LIBCPP_HARDENING_MODE=_LIBCPP_HARDENING_MODE_NONE "
          "-D_LIBCPP_ASSERTION_SEMANTIC_DEFAULT=_LIBCPP_ASSERTION_SEMANTIC_IGNORE -DNDEBUG").split()
TARGET = ("--target=wasm32-wasip1 -mcpu=generic -msimd128 -mbulk-memory -mbulk-memory-opt -msign-ext -mnontrapping-fptoint "
          "-mmutable-globals -mmultivalue -mreference-types -mexception-handling -nostdinc -nostdinc++ -fno-ident -w "
          "-ffunction-sections -fdata-sections").split()
# C++ exceptions in the standard (exnref) form, which is the one wasmtime runs.
EXCEPTIONS = ["-fwasm-exceptions", "-mllvm", "-wasm-use-legacy-eh=false"]


def say(text):
    print(f"engine: {text}", flush=True)


def sha256(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def check(path, want):
    got = sha256(path)
    if got != want:
        os.rename(path, path + ".rejected")
        sys.exit(f"engine: {os.path.basename(path)} has SHA-256 {got}, but {want} is pinned")


def package_index():
    """The PyPI index that pip on this machine is set up to use."""
    from pip._internal.models.index import PyPI
    asked = subprocess.run([sys.executable, "-m", "pip", "config", "get", "global.index-url"], capture_output=True, text=True)
    return (os.environ.get("PIP_INDEX_URL") or asked.stdout.strip() or PyPI.simple_url).rstrip("/")


def fetch_wheel(out, project, file, want):
    path = os.path.join(out, "downloads", file)
    if not os.path.exists(path):
        say(f"fetching {file}")
        page = f"{package_index()}/{project}/"
        with urllib.request.urlopen(page, timeout=60) as r:
            base, html = r.url, r.read().decode()
        links = [h for h in re.findall(r'href="([^"]+)"', html) if file in urllib.parse.unquote(h)]
        if not links:
            sys.exit(f"engine: the package index has no {file}")
        with urllib.request.urlopen(urllib.parse.urljoin(base, links[0]), timeout=300) as r, open(path + ".part", "wb") as f:
            shutil.copyfileobj(r, f)
        os.rename(path + ".part", path)
        check(path, want)
    return path


def fetch_crates(out):
    """Lets cargo download and verify the crates, and returns their unpacked folders."""
    work = os.path.join(out, "crates")
    os.makedirs(os.path.join(work, "src"), exist_ok=True)
    open(os.path.join(work, "src", "lib.rs"), "a").close()
    with open(os.path.join(work, "Cargo.toml"), "w") as f:
        f.write('[package]\nname = "engine-sources"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n[dependencies]\n')
        f.writelines(f'{name} = "={version}"\n' for name, (version, _, _) in CRATES.items())
    manifest = os.path.join(work, "Cargo.toml")
    meta = json.loads(subprocess.run(["cargo", "metadata", "--format-version", "1", "--manifest-path", manifest],
                                     check=True, capture_output=True, text=True).stdout)
    return {p["name"]: os.path.dirname(p["manifest_path"]) for p in meta["packages"] if p["name"] in CRATES}


def fetch(out):
    os.makedirs(os.path.join(out, "downloads"), exist_ok=True)
    done = os.path.join(out, "fetched")
    if os.path.exists(done):
        return
    files = {p: fetch_wheel(out, p, f, h) for p, (f, h) in WHEELS.items()}
    crates = fetch_crates(out)
    core = os.path.join(crates["libduckdb-sys"], "duckdb.tar.gz")
    check_crate_file(core, CRATES["libduckdb-sys"][2])
    malloc = os.path.join(crates["libffi-sys"], CRATES["libffi-sys"][1])
    check_crate_file(malloc, DLMALLOC_SHA256)
    say("unpacking")
    with zipfile.ZipFile(files["ziglang"]) as z:
        z.extractall(os.path.join(out, "zig"))
    os.chmod(os.path.join(out, "zig", "ziglang", "zig"), 0o755)
    unpack(core, out, r"(duckdb/)")
    unpack(files["duckdb"], out, r"[^/]+/external/(duckdb/extension/icu/)")
    unpack(files["nanoarrow"], out, r"[^/]+/subprojects/arrow-(nanoarrow/)")
    unpack(files["nanoarrow"], out, r"[^/]+/subprojects/(flatcc)-[0-9a-f]+(/)")
    config = os.path.join(out, "src", "nanoarrow", "src", "nanoarrow", "nanoarrow_config.h")
    with open(config + ".in") as f:
        text = f.read()
    for key, value in {"VERSION_MAJOR": "0", "VERSION_MINOR": "9", "VERSION_PATCH": "0", "VERSION": "0.9.0"}.items():
        text = text.replace(f"@NANOARROW_{key}@", value)
    with open(config, "w") as f:
        f.write(text.replace("@NANOARROW_NAMESPACE_DEFINE@", ""))
    shutil.copy(malloc, os.path.join(out, "src", "dlmalloc.c"))
    for file, edits in PATCHES.items():
        patch(os.path.join(out, "src", file), edits)
    open(done, "w").close()


def patch(path, edits):
    with open(path) as f:
        text = f.read()
    for old, new, times in edits:
        if text.count(old) != times:
            sys.exit(f"engine: {path} has {old!r} {text.count(old)} times, not {times}")
        text = text.replace(old, new)
    with open(path, "w") as f:
        f.write(text)


def unpack(archive, out, prefix):
    """Files of `archive` whose name starts with `prefix`, under src/ and the prefix's groups."""
    with tarfile.open(archive) as t:
        kept = []
        for m in t:
            found = re.match(prefix, m.name)
            if found and m.isfile():
                m.name = "".join(found.groups()) + m.name[found.end():]
                kept.append(m)
        safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        t.extractall(os.path.join(out, "src"), members=kept, **safe)


def check_crate_file(path, want):
    got = sha256(path)
    if got != want:
        sys.exit(f"engine: {os.path.basename(path)} has SHA-256 {got}, but {want} is pinned")


# The compiler's exception pass orders blocks by address, so equal bytes need an equal heap: no address randomisation, no
# variable and no path whose length differs. clang asks the kernel for the real path of each file, so a link will not do.
PLACE = "/var/tmp/eider-engine"


def place():
    """The build folder, emptied of what another version of this file has made."""
    try:
        os.makedirs(PLACE, mode=0o700, exist_ok=True)
        if os.path.islink(PLACE) or os.stat(PLACE).st_uid != os.geteuid():
            raise OSError("it belongs to another user")
    except OSError as e:
        sys.exit(f"engine: {PLACE} must be a folder of yours, for the bytes depend on where it is: {e}")
    if subprocess.run(["setarch", "-R", "true"], capture_output=True).returncode != 0:
        sys.exit("engine: `setarch -R` does not work here (a container that forbids it?): the build would not be reproducible")
    stamp, made_by = os.path.join(PLACE, "made-by"), sha256(os.path.abspath(__file__))
    if not os.path.exists(stamp) or open(stamp).read() != made_by:
        for name in ("src", "obj", "fetched"):
            path = os.path.join(PLACE, name)
            shutil.rmtree(path, ignore_errors=True) if os.path.isdir(path) else os.path.exists(path) and os.remove(path)
        with open(stamp, "w") as f:
            f.write(made_by)
    return PLACE


class Compiler:
    """clang and LLD out of the ziglang wheel."""

    def __init__(self, out):
        self.out = out
        self.zig = os.path.join(out, "zig", "ziglang", "zig")
        self.lib = os.path.join(out, "zig", "ziglang", "lib")
        self.env = {"PWD": out, "HOME": out, "PATH": "/usr/bin:/bin", "SOURCE_DATE_EPOCH": "0",
                    "ZIG_GLOBAL_CACHE_DIR": f"{out}/zig-cache", "ZIG_LOCAL_CACHE_DIR": f"{out}/zig-cache"}
        c = ["-isystem", f"{self.lib}/include", "-isystem", f"{self.lib}/libc/include/wasm-wasi-musl",
             "-isystem", f"{self.lib}/libc/include/generic-musl"]
        common = ["setarch", "-R", self.zig, "clang", *TARGET, "-no-canonical-prefixes", f"-ffile-prefix-map={out}=."]
        self.c = [*common, *c]
        self.cxx = [*common, *EXCEPTIONS, *LIBCXX, "-isystem", f"{self.lib}/libcxx/include",
                    "-isystem", f"{self.lib}/libcxxabi/include", *c]

    def run(self, args, **kw):
        r = subprocess.run(args, env=self.env, cwd=self.out, **kw)
        if r.returncode != 0:
            sys.exit(f"engine: {' '.join(map(os.path.basename, args[:2]))} failed{': ' + r.stderr if r.stderr else ''}")
        return r


def object_name(out, source):
    rel = os.path.relpath(source, out)
    return os.path.join(out, "obj", re.sub(r"[^A-Za-z0-9_.-]", "_", rel) + ".o")


def compile_all(cc, units, what):
    """units: (object, command). Largest sources first, so that the two cores end together."""
    todo = [(o, c) for o, c in units if not os.path.exists(o)]
    if not todo:
        return
    os.makedirs(os.path.join(cc.out, "obj"), exist_ok=True)
    start, done = time.monotonic(), 0

    def one(unit):
        obj, cmd = unit
        r = subprocess.run([*cmd, "-o", obj + ".part"], env=cc.env, cwd=cc.out, capture_output=True, text=True)
        if r.returncode != 0:
            return f"{cmd[-1]}:\n{r.stderr[-3000:]}"
        os.rename(obj + ".part", obj)
        return None

    say(f"compiling {len(todo)} {what} with {JOBS} jobs")
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        for failure in pool.map(one, todo):
            if failure:
                pool.shutdown(wait=False, cancel_futures=True)
                sys.exit(f"engine: cannot compile {failure}")
            done += 1
            if done % 20 == 0 or done == len(todo):
                say(f"  {done}/{len(todo)} {what}, {time.monotonic() - start:.0f} s")


def size_of(source, root):
    """Bytes of a unit with the files that a unity source includes."""
    with open(source, errors="replace") as f:
        text = f.read()
    parts = (os.path.join(root, i) for i in re.findall(r'#include "([^"]+\.cpp)"', text))
    return len(text) + sum(os.path.getsize(p) for p in parts if os.path.exists(p))


def sysroot(cc):
    """libc.a, zig's own libc parts and compiler-rt, as zig builds them for an empty program."""
    root = os.path.join(cc.out, "sysroot")
    if os.path.exists(os.path.join(root, "libcompiler_rt.a")):
        return
    say("building libc")
    os.makedirs(root, exist_ok=True)
    probe = os.path.join(root, "probe.c")
    with open(probe, "w") as f:
        f.write("int main(void) { return 0; }\n")
    r = cc.run([cc.zig, "cc", "--target=wasm32-wasi", "-O2", "-msimd128", "-mexec-model=reactor", "--verbose", "-o",
                os.path.join(root, "probe.wasm"), probe], capture_output=True, text=True)
    line = [l for l in r.stderr.splitlines() if l.startswith("wasm-ld")][-1]
    for part in line.split():
        if part.endswith((".a",)):
            shutil.copy(os.path.join(cc.out, part), root)


def runtime_units(cc):
    lib, units = cc.lib, []
    cxx = ("algorithm any atomic barrier bind call_once charconv chrono condition_variable condition_variable_destructor "
           "error_category exception expected fstream functional future hash ios ios.instantiations iostream locale memory "
           "memory_resource mutex mutex_destructor new new_handler new_helpers optional ostream print random random_shuffle "
           "regex shared_mutex stdexcept string strstream system_error thread typeinfo valarray variant vector verbose_abort "
           "ryu/d2fixed ryu/d2s ryu/f2s").split()
    abi = ("cxa_aux_runtime cxa_default_handlers cxa_demangle cxa_exception cxa_exception_storage cxa_guard cxa_handlers "
           "cxa_personality cxa_vector cxa_virtual cxa_thread_atexit fallback_malloc private_typeinfo stdlib_exception "
           "stdlib_new_delete stdlib_stdexcept stdlib_typeinfo abort_message").split()
    building = ["-D_LIBCPP_BUILDING_LIBRARY", "-DLIBCXX_BUILDING_LIBCXXABI", "-std=c++23", "-O2"]
    for name in cxx:
        source = f"{lib}/libcxx/src/{name}.cpp"
        if os.path.exists(source):
            units.append((source, [*cc.cxx, *building, "-DLIBC_NAMESPACE=__llvm_libc_common_utils", f"-I{lib}/libcxx/src",
                                   f"-I{lib}/libcxx/libc", f"-I{lib}/libcxxabi/include"]))
    for name in abi:
        source = f"{lib}/libcxxabi/src/{name}.cpp"
        if os.path.exists(source):
            units.append((source, [*cc.cxx, *building, "-D_LIBCXXABI_BUILDING_LIBRARY", f"-I{lib}/libcxxabi/include",
                                   f"-I{lib}/libcxx/src"]))
    units.append((f"{lib}/libunwind/src/Unwind-wasm.c",
                  [*cc.c, *EXCEPTIONS, "-O2", "-std=c17", "-DNDEBUG", "-D__USING_WASM_EXCEPTIONS__",
                   "-D_LIBUNWIND_HIDE_SYMBOLS", "-D_LIBUNWIND_IS_NATIVE_ONLY", f"-I{lib}/libunwind/include",
                   f"-I{lib}/libunwind/src"]))
    # dlmalloc instead of zig's allocator: power-of-two size classes double DuckDB's memory.
    units.append((f"{cc.out}/src/dlmalloc.c",
                  [*cc.c, "-O2", "-DHAVE_MMAP=0", "-DHAVE_MREMAP=0", "-DUSE_LOCKS=0", "-DMORECORE_CANNOT_TRIM=1", "-DNO_MALLINFO=1",
                   "-DNO_MALLOC_STATS=1", "-DABORT_ON_ASSERT_FAILURE=1", "-DLACKS_TIME_H=1", "-Dmalloc_getpagesize=65536",
                   "-DMALLOC_ALIGNMENT=16", "-DDEFAULT_GRANULARITY=65536", "-DNDEBUG"]))
    units.append((f"{cc.out}/shim/cpp_exception.s", [*cc.c[:4], "--target=wasm32-wasip1", "-mexception-handling"]))
    arrow, flat = f"{cc.out}/src/nanoarrow/src", f"{cc.out}/src/flatcc"
    include = [f"-I{arrow}", f"-I{flat}/include", *EMULATED]
    for source in [*(f"{arrow}/nanoarrow/{n}.c" for n in ("common/array", "common/schema", "common/utils", "ipc/decoder", "ipc/encoder", "ipc/writer")),
                   *(f"{flat}/src/runtime/{n}.c" for n in ("builder", "emitter", "refmap", "verifier"))]:
        units.append((source, [*cc.c, "-O2", "-DNDEBUG", "-std=c11", *include]))
    return units


def duckdb_flags(cc):
    root = f"{cc.out}/src/duckdb"
    with open(f"{root}/manifest.json") as f:
        manifest = json.load(f)
    files, dirs = list(manifest["base"]["cpp_files"]), list(manifest["base"]["include_dirs"])
    for ext in ("core_functions", "json", "parquet"):
        files += manifest["extensions"][ext]["cpp_files"]
        dirs += manifest["extensions"][ext]["include_dirs"]
    dirs += [f"extension/icu/{d}" for d in ("include", "collation/include", "datetime/include")]
    with open(f"{root}/extension/icu/CMakeLists.txt") as f:
        listed = re.search(r"set\(ICU_EXTENSION_FILES(.*?)\)", f.read(), re.S)[1].split()
    files += [f"duckdb/extension/icu/{n}" for n in listed]
    sources = sorted({f"{cc.out}/src/{f}" for f in files if not any(x in f for x in LEFT_OUT)})
    flags = [*cc.cxx, *EMULATED, *DEFINES, "-include", f"{cc.out}/shim/wasi_compat.h", f"-I{root}",
             *(f"-I{root}/{d}" for d in sorted(set(dirs))), "-std=c++17"]
    return sources, flags, root


def compile_engine(out):
    cc = Compiler(out)
    sysroot(cc)
    compile_all(cc, [(object_name(cc.out, s), [*f, "-c", s]) for s, f in runtime_units(cc)], "runtime units")
    sources, flags, root = duckdb_flags(cc)
    sources.sort(key=lambda s: size_of(s, root), reverse=True)
    compile_all(cc, [(object_name(cc.out, s), [*flags, "-O3", "-c", s]) for s in sources], "DuckDB units (about 25 min on two cores)")
    return cc, flags


def shim(cc, flags):
    """Our own sources: compiled anew whenever one of them changed."""
    gen = f"{cc.out}/gen"
    sources = [f"{cc.out}/shim/{n}" for n in ("engine.cpp", "inputs_fs.cpp", "extensions.cpp", "arrow_ipc.c", "wasi.c")]
    newest = max(os.path.getmtime(f"{HERE}/src/{n}") for n in os.listdir(f"{HERE}/src"))
    newest = max(newest, os.path.getmtime(f"{gen}/query_engine.h"))
    units = []
    for source in [*sources, f"{gen}/query_engine.c"]:
        obj = object_name(cc.out, source)
        if os.path.exists(obj) and os.path.getmtime(obj) < newest:
            os.remove(obj)
        c = [*cc.c, "-std=c11", *EMULATED, f"-I{cc.out}/src/nanoarrow/src", f"-I{cc.out}/src/flatcc/include"]
        units.append((obj, [*(flags if source.endswith(".cpp") else c), f"-I{cc.out}/shim", f"-I{gen}", "-O2", "-c", source]))
    compile_all(cc, units, "shim units")


def link(cc, core):
    sys_libs = [f"{cc.out}/sysroot/{n}" for n in ("libc.a", "libzigc.a", "libcompiler_rt.a")]
    objects = sorted(os.path.join(cc.out, "obj", n) for n in os.listdir(os.path.join(cc.out, "obj")) if n.endswith(".o"))
    say(f"linking {len(objects)} objects")
    cc.run([cc.zig, "wasm-ld", "-s", "--no-entry", "-z", f"stack-size={8 << 20}", "--stack-first", "--gc-sections",
            f"--max-memory={4 << 30}", "-o", core, *objects, f"{cc.out}/gen/query_engine_component_type.o", *sys_libs])


def main():
    product, tool, out = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]), place()
    started = time.monotonic()
    fetch(out)
    os.makedirs(f"{out}/gen", exist_ok=True)
    shutil.copytree(f"{HERE}/src", f"{out}/shim", dirs_exist_ok=True)
    subprocess.run([tool, "bindings", f"{HERE}/../wit/engine.wit", f"{out}/gen"], check=True)
    cc, flags = compile_engine(out)
    shim(cc, flags)
    link(cc, f"{out}/core.wasm")
    subprocess.run([tool, "component", f"{out}/core.wasm", f"{out}/plain.wasm"], check=True)
    say("taking the snapshot (about 2 min: the engine is compiled and its init run once)")
    subprocess.run([tool, "snapshot", f"{out}/plain.wasm", f"{out}/engine.wasm"], check=True)
    packed = subprocess.run([tool, "pack", f"{out}/engine.wasm", f"{out}/engine.wasm.zst"], check=True, capture_output=True, text=True)
    say(f"done in {time.monotonic() - started:.0f} s")
    print(packed.stdout, end="")
    os.makedirs(os.path.dirname(product), exist_ok=True)
    shutil.copy(f"{out}/engine.wasm.zst", product)
    with open(sys.argv[3]) as f:
        locked = re.search(r'^blake3 = "([0-9a-f]{64})"', f.read(), re.M)[1]
    if locked not in packed.stdout:
        sys.exit(f"engine: {sys.argv[3]} says {locked}: this build is another engine. If that is meant, copy "
                 f"{product} over the committed file and put the two lines above into the lock file.")
    say("the build is the committed engine, byte for byte")


if __name__ == "__main__":
    main()
