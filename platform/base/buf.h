/*
 * A growing byte buffer with a cap. Zero-initialize it, or buf_init() for a cap of its own; buf_finish()
 * frees. `data` is always followed by a NUL that `len` does not count, once anything was added. A buffer
 * marked secret is kept out of swap space where possible, and cleared before its memory is given back. A
 * failed buf_add leaves the buffer as it was.
 */
#ifndef SATCHEL_BASE_BUF_H
#define SATCHEL_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>

#define BUF_DEFAULT_MAX ((size_t)64 << 20)

struct buf {
    char *data; /* owned */
    size_t len;
    size_t cap;
    size_t max; /* 0: BUF_DEFAULT_MAX */
    bool secret;
};

void buf_init(struct buf *b, size_t max, bool secret);
void buf_finish(struct buf *b);
#define buf_cleanup buf_finish

/* Forgets the content, keeps the memory. */
void buf_clear(struct buf *b);

/* Makes room for `n` more bytes. 0, ERR_TOO_LARGE or ERR_SYSTEM. */
int buf_reserve(struct buf *b, size_t n);
int buf_add(struct buf *b, const void *data, size_t n);
int buf_add_str(struct buf *b, const char *text);
int buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Drops the first `n` bytes. */
void buf_consume(struct buf *b, size_t n);

/* Hands the NUL-terminated content to the caller, who frees it; the buffer is empty afterwards. Never NULL on
 * success of the adds before; an empty buffer gives NULL. */
char *buf_steal(struct buf *b);

#endif
