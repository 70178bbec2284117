// Registers the extensions that are linked in. DuckDB's generated loader also registers those for HTTP and for
// loading shared objects; neither exists here.
#include "duckdb/main/extension/extension_loader.hpp"
#include "duckdb_static_extension.h"

#define EXTENSION(NAME)                                                                                                \
	extern "C" void NAME##_duckdb_cpp_init(duckdb::ExtensionLoader &loader);                                           \
	static int32_t Describe_##NAME(duckdb_extension_descriptor *d) {                                                   \
		if (d->version < 1) {                                                                                          \
			d->set_error(d, "extension " #NAME " needs descriptor layout 1");                                          \
			return 1;                                                                                                  \
		}                                                                                                              \
		d->version = 1;                                                                                                \
		d->name = #NAME;                                                                                               \
		d->extension_version = "";                                                                                     \
		d->api_version = "v2.0.0";                                                                                     \
		d->entry_cpp = (void (*)(void))NAME##_duckdb_cpp_init;                                                         \
		return 0;                                                                                                      \
	}
EXTENSION(core_functions)
EXTENSION(parquet)
EXTENSION(json)
EXTENSION(icu)

extern "C" int32_t duckdb_register_static_extensions(void) {
	int32_t failed = 0;
	for (auto describe : {Describe_core_functions, Describe_parquet, Describe_json, Describe_icu}) {
		failed |= duckdb_register_static_extension(describe) != 0;
	}
	return failed;
}
