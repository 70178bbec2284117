// Writes an Arrow IPC stream from the C data interface, with nanoarrow. Plain C, so that nanoarrow's and DuckDB's
// own copies of the interface's structs never meet in one translation unit.
#pragma once
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif
typedef struct eider_ipc eider_ipc;
typedef void (*eider_ipc_sink)(const uint8_t *bytes, uint32_t n);
/// `schema`: struct ArrowSchema *, still the caller's. `types`: the SQL type of each column, kept as field metadata
/// under `duckdb.type`. NULL on failure, with a message in `error` (1024 bytes).
eider_ipc *eider_ipc_open(void *schema, const char *const *types, eider_ipc_sink sink, char *error);
/// `array`: struct ArrowArray *, still the caller's. 0 when written.
int eider_ipc_batch(eider_ipc *ipc, void *array, char *error);
/// Writes the end of the stream, flushes, and frees `ipc`.
int eider_ipc_close(eider_ipc *ipc, char *error);
#ifdef __cplusplus
}
#endif
