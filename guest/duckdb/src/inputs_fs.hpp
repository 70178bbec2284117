// The only file system that DuckDB has in the sandbox: the job's granted inputs, read-only, by name.
#pragma once
#include "duckdb.hpp"
#include "duckdb/common/file_system.hpp"

namespace eider {

struct Input {
	std::string table, file, format;
	duckdb::idx_t size;
};

/// The job's inputs, asked of the host once, after the snapshot.
const duckdb::vector<Input> &Inputs();

duckdb::unique_ptr<duckdb::FileSystem> MakeInputFileSystem();

} // namespace eider
