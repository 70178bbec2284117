/* What wasi-libc asks of its host, answered inside the guest. Defining wasi-libc's import symbols makes wasm-ld
 * resolve them here, so the component imports no WASI at all. There is a fixed wall clock (the job's time), a
 * monotonic clock that counts its readings, a ChaCha20 stream keyed by the job's seed, and nothing else. */
#include <stdint.h>
#include <string.h>
#define W(n) __imported_wasi_snapshot_preview1_##n
#define P(T, a) ((T *)(uintptr_t)(uint32_t)(a))
enum { OK = 0, WASI_EBADF = 8, WASI_EINVAL = 28, WASI_ENOSYS = 52 };

static uint64_t wall_ns, monotonic_ns = 1000000000ull;
static uint32_t chacha[16];
static uint8_t stream[64];
static uint32_t stream_used = 64;

/* RFC 8439, section 2.3 */
static uint32_t rotl(uint32_t v, int n) { return (v << n) | (v >> (32 - n)); }
#define QUARTER(a, b, c, d) \
	a += b; d = rotl(d ^ a, 16); c += d; b = rotl(b ^ c, 12); a += b; d = rotl(d ^ a, 8); c += d; b = rotl(b ^ c, 7);
static void chacha_block(void) {
	uint32_t x[16];
	memcpy(x, chacha, sizeof x);
	for (int i = 0; i < 10; i++) {
		QUARTER(x[0], x[4], x[8], x[12]) QUARTER(x[1], x[5], x[9], x[13]) QUARTER(x[2], x[6], x[10], x[14])
		QUARTER(x[3], x[7], x[11], x[15]) QUARTER(x[0], x[5], x[10], x[15]) QUARTER(x[1], x[6], x[11], x[12])
		QUARTER(x[2], x[7], x[8], x[13]) QUARTER(x[3], x[4], x[9], x[14])
	}
	for (int i = 0; i < 16; i++) { x[i] += chacha[i]; }
	memcpy(stream, x, sizeof stream);
	stream_used = 0;
	if (++chacha[12] == 0) { ++chacha[13]; }
}

void eider_set_profile(const uint8_t seed[32], uint64_t wall_clock_ns) {
	static const uint32_t sigma[4] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
	memcpy(chacha, sigma, 16);
	memcpy(chacha + 4, seed, 32);
	memset(chacha + 12, 0, 16);
	stream_used = 64;
	monotonic_ns = 1000000000ull;
	wall_ns = wall_clock_ns;
}

int32_t W(random_get)(int32_t buf, int32_t n) {
	uint8_t *p = P(uint8_t, buf);
	for (int32_t i = 0; i < n; i++) {
		if (stream_used == sizeof stream) { chacha_block(); }
		p[i] = stream[stream_used++];
	}
	return OK;
}
int32_t W(clock_time_get)(int32_t id, int64_t precision, int32_t out) {
	(void)precision;
	*P(uint64_t, out) = id == 0 ? wall_ns : (monotonic_ns += 1000);
	return OK;
}
int32_t W(clock_res_get)(int32_t id, int32_t out) { (void)id; *P(uint64_t, out) = 1000; return OK; }
/* stdout and stderr are dropped */
int32_t W(fd_write)(int32_t fd, int32_t iov, int32_t n, int32_t out) {
	if (fd != 1 && fd != 2) { return WASI_EBADF; }
	uint32_t total = 0, *v = P(uint32_t, iov);
	for (int32_t i = 0; i < n; i++) { total += v[2 * i + 1]; }
	*P(uint32_t, out) = total;
	return OK;
}
int32_t W(fd_fdstat_get)(int32_t fd, int32_t out) {
	if ((uint32_t)fd > 2) { return WASI_EBADF; }
	memset(P(uint8_t, out), 0, 24);
	*P(uint8_t, out) = 2;
	return OK;
}
int32_t W(environ_sizes_get)(int32_t a, int32_t b) { *P(uint32_t, a) = 0; *P(uint32_t, b) = 0; return OK; }
int32_t W(args_sizes_get)(int32_t a, int32_t b) { *P(uint32_t, a) = 0; *P(uint32_t, b) = 0; return OK; }
/* one subscription: it happens at once, and the counting clock moves by its time-out */
int32_t W(poll_oneoff)(int32_t in, int32_t out, int32_t n, int32_t n_events) {
	if (n < 1) { return WASI_EINVAL; }
	uint8_t *s = P(uint8_t, in), *e = P(uint8_t, out);
	memset(e, 0, 32);
	memcpy(e, s, 8);
	e[10] = s[8];
	if (s[8] == 0) {
		uint64_t t;
		uint16_t flags;
		memcpy(&t, s + 24, 8);
		memcpy(&flags, s + 40, 2);
		if (!(flags & 1)) { monotonic_ns += t; } else if (t > monotonic_ns) { monotonic_ns = t; }
	}
	*P(uint32_t, n_events) = 1;
	return OK;
}
int32_t W(sched_yield)(void) { return OK; }
_Noreturn void W(proc_exit)(int32_t code) { (void)code; __builtin_trap(); }

#define A int32_t
#define L int64_t
#define REFUSE(name, error, ...) int32_t W(name)(__VA_ARGS__) { return error; }
REFUSE(fd_prestat_get, WASI_EBADF, A a, A b) REFUSE(fd_prestat_dir_name, WASI_EBADF, A a, A b, A c) REFUSE(fd_close, WASI_EBADF, A a)
REFUSE(environ_get, OK, A a, A b) REFUSE(args_get, OK, A a, A b)
REFUSE(fd_advise, WASI_ENOSYS, A a, L b, L c, A d) REFUSE(fd_allocate, WASI_ENOSYS, A a, L b, L c) REFUSE(fd_datasync, WASI_ENOSYS, A a)
REFUSE(fd_fdstat_set_flags, WASI_ENOSYS, A a, A b) REFUSE(fd_fdstat_set_rights, WASI_ENOSYS, A a, L b, L c)
REFUSE(fd_filestat_get, WASI_ENOSYS, A a, A b) REFUSE(fd_filestat_set_size, WASI_ENOSYS, A a, L b)
REFUSE(fd_filestat_set_times, WASI_ENOSYS, A a, L b, L c, A d) REFUSE(fd_pread, WASI_ENOSYS, A a, A b, A c, L d, A e)
REFUSE(fd_pwrite, WASI_ENOSYS, A a, A b, A c, L d, A e) REFUSE(fd_read, WASI_ENOSYS, A a, A b, A c, A d)
REFUSE(fd_readdir, WASI_ENOSYS, A a, A b, A c, L d, A e) REFUSE(fd_renumber, WASI_ENOSYS, A a, A b)
REFUSE(fd_seek, WASI_ENOSYS, A a, L b, A c, A d) REFUSE(fd_sync, WASI_ENOSYS, A a) REFUSE(fd_tell, WASI_ENOSYS, A a, A b)
REFUSE(path_create_directory, WASI_ENOSYS, A a, A b, A c) REFUSE(path_filestat_get, WASI_ENOSYS, A a, A b, A c, A d, A e)
REFUSE(path_filestat_set_times, WASI_ENOSYS, A a, A b, A c, A d, L e, L f, A g)
REFUSE(path_link, WASI_ENOSYS, A a, A b, A c, A d, A e, A f, A g)
REFUSE(path_open, WASI_ENOSYS, A a, A b, A c, A d, A e, L f, L g, A h, A i) REFUSE(path_readlink, WASI_ENOSYS, A a, A b, A c, A d, A e, A f)
REFUSE(path_remove_directory, WASI_ENOSYS, A a, A b, A c) REFUSE(path_rename, WASI_ENOSYS, A a, A b, A c, A d, A e, A f)
REFUSE(path_symlink, WASI_ENOSYS, A a, A b, A c, A d, A e) REFUSE(path_unlink_file, WASI_ENOSYS, A a, A b, A c)
REFUSE(sock_accept, WASI_ENOSYS, A a, A b, A c) REFUSE(sock_recv, WASI_ENOSYS, A a, A b, A c, A d, A e, A f)
REFUSE(sock_send, WASI_ENOSYS, A a, A b, A c, A d, A e) REFUSE(sock_shutdown, WASI_ENOSYS, A a, A b)

/* zig's own libc parts import fd_close under this symbol name */
int32_t zig_fd_close(int32_t fd) __asm__("fd_close|wasi_snapshot_preview1");
int32_t zig_fd_close(int32_t fd) { (void)fd; return WASI_EBADF; }

/* What DuckDB expects of a POSIX system beyond WASI; see wasi_compat.h */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
int duckdb_wasi_fcntl(int fd, int cmd, ...) { (void)fd; (void)cmd; errno = EINVAL; return -1; }
int mlock(const void *a, size_t n) { (void)a; (void)n; return 0; }
int munlock(const void *a, size_t n) { (void)a; (void)n; return 0; }
int msync(void *a, size_t n, int f) { (void)a; (void)n; (void)f; return 0; }
int madvise(void *a, size_t n, int f) { (void)a; (void)n; (void)f; return 0; }
/* one thread that never exits: its thread_local destructors never run */
int __cxa_thread_atexit(void (*d)(void *), void *o, void *dso) { (void)d; (void)o; (void)dso; return 0; }
