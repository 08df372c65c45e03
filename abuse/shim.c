/* Loaded before the C library (LD_PRELOAD): counts what a process writes under one folder, and fails or ends it at the
   n-th time. Opening for writing, writing, syncing, truncating, renaming, copying and making a folder each count once. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { COUNT, FULL, ONCE, KILL };

static char under[PATH_MAX];
static size_t under_length;
static long at;
static int deed;
static atomic_long *hits; /* shared with the process that forks, which asks for it afterwards */

__attribute__((constructor)) static void begin(void) {
    hits = mmap(NULL, sizeof *hits, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

void abuse_arm(const char *folder, long n, int what) {
    atomic_store(hits, 0);
    snprintf(under, sizeof under, "%s/", folder);
    at = n;
    deed = what;
    under_length = strlen(under);
}

long abuse_hits(void) { return atomic_load(hits); }

/* Whether what is about to be done is to fail. */
static int strikes(void) {
    long n = atomic_fetch_add(hits, 1) + 1;
    if (n < at || deed == COUNT || (deed == ONCE && n != at))
        return 0;
    if (deed == KILL)
        raise(SIGKILL);
    errno = deed == FULL ? ENOSPC : EIO;
    return 1;
}

static int is_under(const char *path) { return under_length && strncmp(path, under, under_length) == 0; }

/* An opened file's path, as the system knows it. */
static int watched(int file) {
    char link[64], path[PATH_MAX];
    if (!under_length)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return is_under(path);
}

/* A path that may not exist yet: its folder is resolved, in `directory` or the working folder where it is relative. */
static int aims(int directory, const char *path) {
    char full[2 * PATH_MAX], parent[PATH_MAX], link[64];
    if (!under_length || !path)
        return 0;
    if (path[0] == '/') {
        snprintf(full, sizeof full, "%s", path);
    } else {
        char base[PATH_MAX];
        if (directory == AT_FDCWD) {
            if (!getcwd(base, sizeof base))
                return 0;
        } else {
            snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
            ssize_t length = readlink(link, base, sizeof base - 1);
            if (length < 0)
                return 0;
            base[length] = 0;
        }
        snprintf(full, sizeof full, "%s/%s", base, path);
    }
    char *slash = strrchr(full, '/');
    *slash = 0;
    if (!realpath(*full ? full : "/", parent))
        return 0;
    strncat(parent, "/", sizeof parent - strlen(parent) - 1);
    return is_under(parent);
}

#define REAL(type, name, ...)                                                                                          \
    static type (*real)(__VA_ARGS__);                                                                                  \
    if (!real)                                                                                                         \
        real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name);

#define WRITES(flags) ((flags) & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC))

#define OPEN(name)                                                                                                     \
    int name(const char *path, int flags, ...) {                                                                       \
        REAL(int, #name, const char *, int, ...)                                                                       \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                                        \
        va_end(rest);                                                                                                  \
        if (WRITES(flags) && aims(AT_FDCWD, path) && strikes())                                                        \
            return -1;                                                                                                 \
        return real(path, flags, mode);                                                                                \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                                                   \
    int name(int directory, const char *path, int flags, ...) {                                                        \
        REAL(int, #name, int, const char *, int, ...)                                                                  \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                                        \
        va_end(rest);                                                                                                  \
        if (WRITES(flags) && aims(directory, path) && strikes())                                                       \
            return -1;                                                                                                 \
        return real(directory, path, flags, mode);                                                                     \
    }
OPENAT(openat)
OPENAT(openat64)

#define FOPEN(name)                                                                                                    \
    FILE *name(const char *path, const char *mode) {                                                                   \
        REAL(FILE *, #name, const char *, const char *)                                                                \
        if (strpbrk(mode, "wa+") && aims(AT_FDCWD, path) && strikes())                                                 \
            return NULL;                                                                                               \
        return real(path, mode);                                                                                       \
    }
FOPEN(fopen)
FOPEN(fopen64)

size_t fwrite(const void *data, size_t size, size_t count, FILE *file) {
    REAL(size_t, "fwrite", const void *, size_t, size_t, FILE *)
    if (under_length && watched(fileno(file)) && strikes())
        return 0;
    return real(data, size, count, file);
}

ssize_t write(int file, const void *data, size_t size) {
    REAL(ssize_t, "write", int, const void *, size_t)
    return watched(file) && strikes() ? -1 : real(file, data, size);
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    REAL(ssize_t, "writev", int, const struct iovec *, int)
    return watched(file) && strikes() ? -1 : real(file, parts, count);
}

ssize_t pwrite(int file, const void *data, size_t size, off_t place) {
    REAL(ssize_t, "pwrite", int, const void *, size_t, off_t)
    return watched(file) && strikes() ? -1 : real(file, data, size, place);
}

ssize_t pwrite64(int file, const void *data, size_t size, off64_t place) {
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t)
    return watched(file) && strikes() ? -1 : real(file, data, size, place);
}

ssize_t sendfile(int to, int from, off_t *place, size_t size) {
    REAL(ssize_t, "sendfile", int, int, off_t *, size_t)
    return watched(to) && strikes() ? -1 : real(to, from, place, size);
}

ssize_t sendfile64(int to, int from, off64_t *place, size_t size) {
    REAL(ssize_t, "sendfile64", int, int, off64_t *, size_t)
    return watched(to) && strikes() ? -1 : real(to, from, place, size);
}

ssize_t copy_file_range(int from, off64_t *a, int to, off64_t *b, size_t size, unsigned int flags) {
    REAL(ssize_t, "copy_file_range", int, off64_t *, int, off64_t *, size_t, unsigned int)
    return watched(to) && strikes() ? -1 : real(from, a, to, b, size, flags);
}

int fsync(int file) {
    REAL(int, "fsync", int)
    return watched(file) && strikes() ? -1 : real(file);
}

int fdatasync(int file) {
    REAL(int, "fdatasync", int)
    return watched(file) && strikes() ? -1 : real(file);
}

int ftruncate(int file, off_t size) {
    REAL(int, "ftruncate", int, off_t)
    return watched(file) && strikes() ? -1 : real(file, size);
}

int ftruncate64(int file, off64_t size) {
    REAL(int, "ftruncate64", int, off64_t)
    return watched(file) && strikes() ? -1 : real(file, size);
}

int rename(const char *from, const char *to) {
    REAL(int, "rename", const char *, const char *)
    return aims(AT_FDCWD, to) && strikes() ? -1 : real(from, to);
}

int renameat(int a, const char *from, int b, const char *to) {
    REAL(int, "renameat", int, const char *, int, const char *)
    return aims(b, to) && strikes() ? -1 : real(a, from, b, to);
}

int renameat2(int a, const char *from, int b, const char *to, unsigned int flags) {
    REAL(int, "renameat2", int, const char *, int, const char *, unsigned int)
    return aims(b, to) && strikes() ? -1 : real(a, from, b, to, flags);
}

int mkdir(const char *path, mode_t mode) {
    REAL(int, "mkdir", const char *, mode_t)
    return aims(AT_FDCWD, path) && strikes() ? -1 : real(path, mode);
}

int mkdirat(int directory, const char *path, mode_t mode) {
    REAL(int, "mkdirat", int, const char *, mode_t)
    return aims(directory, path) && strikes() ? -1 : real(directory, path, mode);
}
