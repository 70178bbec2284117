#include "arrow_ipc.h"
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include "nanoarrow/nanoarrow.h"
#include "nanoarrow/nanoarrow_ipc.h"

/* One call into the host per buffer of this size: small results leave in one call, large ones in few. */
#define BUFFER_BYTES (1u << 20)

struct eider_ipc {
	struct ArrowIpcWriter writer;
	struct ArrowSchema schema;
	struct ArrowArrayView view;
	eider_ipc_sink sink;
	uint32_t used;
	uint8_t buffer[BUFFER_BYTES];
};

static void flush(eider_ipc *ipc) {
	if (ipc->used) { ipc->sink(ipc->buffer, ipc->used); }
	ipc->used = 0;
}

static ArrowErrorCode put(struct ArrowIpcOutputStream *stream, const void *bytes, int64_t n, int64_t *written, struct ArrowError *e) {
	(void)e;
	eider_ipc *ipc = stream->private_data;
	const uint8_t *p = bytes;
	*written = n;
	while (n > 0) {
		uint32_t room = BUFFER_BYTES - ipc->used, part = n < room ? (uint32_t)n : room;
		memcpy(ipc->buffer + ipc->used, p, part);
		ipc->used += part;
		p += part;
		n -= part;
		if (ipc->used == BUFFER_BYTES) { flush(ipc); }
	}
	return NANOARROW_OK;
}

static void release(struct ArrowIpcOutputStream *stream) { stream->release = NULL; }

static int note_types(struct ArrowSchema *schema, const char *const *types) {
	for (int64_t i = 0; i < schema->n_children; i++) {
		struct ArrowBuffer metadata;
		NANOARROW_RETURN_NOT_OK(ArrowMetadataBuilderInit(&metadata, schema->children[i]->metadata));
		int rc = ArrowMetadataBuilderSet(&metadata, ArrowCharView("duckdb.type"), ArrowCharView(types[i]));
		if (rc == NANOARROW_OK) { rc = ArrowSchemaSetMetadata(schema->children[i], (const char *)metadata.data); }
		ArrowBufferReset(&metadata);
		NANOARROW_RETURN_NOT_OK(rc);
	}
	return NANOARROW_OK;
}

static int fail(char *error, const struct ArrowError *e) {
	strncpy(error, e->message[0] ? e->message : "out of memory", 1023);
	error[1023] = 0;
	return 1;
}

eider_ipc *eider_ipc_open(void *schema, const char *const *types, eider_ipc_sink sink, char *error) {
	struct ArrowError e = {{0}};
	eider_ipc *ipc = malloc(sizeof *ipc);
	if (!ipc) { fail(error, &e); return NULL; }
	/* All but the buffer, which is most of it. */
	memset(ipc, 0, offsetof(eider_ipc, buffer));
	ipc->sink = sink;
	struct ArrowIpcOutputStream out = {put, release, ipc};
	if (ArrowSchemaDeepCopy(schema, &ipc->schema) || note_types(&ipc->schema, types) ||
	    ArrowArrayViewInitFromSchema(&ipc->view, &ipc->schema, &e) || ArrowIpcWriterInit(&ipc->writer, &out) ||
	    ArrowIpcWriterWriteSchema(&ipc->writer, &ipc->schema, &e)) {
		fail(error, &e);
		return NULL;
	}
	return ipc;
}

int eider_ipc_batch(eider_ipc *ipc, void *array, char *error) {
	struct ArrowError e = {{0}};
	if (ArrowArrayViewSetArray(&ipc->view, array, &e) || ArrowIpcWriterWriteArrayView(&ipc->writer, &ipc->view, &e)) {
		return fail(error, &e);
	}
	return 0;
}

int eider_ipc_close(eider_ipc *ipc, char *error) {
	struct ArrowError e = {{0}};
	int rc = ArrowIpcWriterWriteArrayView(&ipc->writer, NULL, &e) ? fail(error, &e) : 0;
	flush(ipc);
	ArrowIpcWriterReset(&ipc->writer);
	ArrowArrayViewReset(&ipc->view);
	ArrowSchemaRelease(&ipc->schema);
	free(ipc);
	return rc;
}
