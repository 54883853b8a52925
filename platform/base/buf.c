#include "platform/base/buf.h"
#include "platform/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

void buf_init(struct buf *b, size_t max, bool secret) {
    *b = (struct buf){.max = max, .secret = secret};
}

void buf_finish(struct buf *b) {
    if (b->secret && b->data)
        explicit_bzero(b->data, b->cap);
    free(b->data);
    b->data = NULL;
    b->len = b->cap = 0;
}

void buf_clear(struct buf *b) {
    if (b->secret && b->data)
        explicit_bzero(b->data, b->cap);
    b->len = 0;
    if (b->data)
        b->data[0] = '\0';
}

int buf_reserve(struct buf *b, size_t n) {
    size_t max = b->max ? b->max : BUF_DEFAULT_MAX;
    if (n > max || b->len > max - n)
        return err_set(ERR_TOO_LARGE, "more than %zu bytes", max);
    size_t need = b->len + n + 1;
    if (need <= b->cap)
        return 0;
    size_t cap = b->cap ? b->cap : 256;
    while (cap < need)
        cap *= 2;
    char *data = malloc(cap);
    if (!data)
        return err_errno("cannot allocate %zu bytes", cap);
    data[0] = '\0';
    /* Out of the swap space. Never unlocked: a page may hold several secrets, and they are few. */
    if (b->secret)
        (void)mlock(data, cap);
    if (b->data) {
        memcpy(data, b->data, b->len + 1);
        if (b->secret)
            explicit_bzero(b->data, b->cap);
        free(b->data);
    }
    b->data = data;
    b->cap = cap;
    return 0;
}

int buf_add(struct buf *b, const void *data, size_t n) {
    int r = buf_reserve(b, n);
    if (r < 0)
        return r;
    if (n)
        memcpy(b->data + b->len, data, n);
    b->len += n;
    b->data[b->len] = '\0';
    return 0;
}

int buf_add_str(struct buf *b, const char *text) {
    return buf_add(b, text, strlen(text));
}

int buf_printf(struct buf *b, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0)
        return err_errno("cannot format");
    int r = buf_reserve(b, (size_t)n);
    if (r < 0)
        return r;
    va_start(ap, fmt);
    (void)vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->len += (size_t)n;
    return 0;
}

void buf_consume(struct buf *b, size_t n) {
    if (n >= b->len) {
        buf_clear(b);
        return;
    }
    memmove(b->data, b->data + n, b->len - n + 1);
    b->len -= n;
}

char *buf_steal(struct buf *b) {
    char *data = b->data;
    b->data = NULL;
    b->len = b->cap = 0;
    return data;
}
