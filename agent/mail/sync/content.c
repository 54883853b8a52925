#include "agent/mail/sync/content.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include <zlib.h>

#define PIECE ((size_t)65536)
#define HEADER_MAX ((size_t)65536) /* bytes in which a Message-ID is looked for */
#define ID "Message-ID:"

uint32_t content_crc(uint32_t crc, const char *data, size_t n) {
    return (uint32_t)crc32_z(crc, (const unsigned char *)data, n);
}

uint64_t content_id(const char *header, size_t n) {
    for (const char *line = header, *end = header + n; line < end;) {
        const char *next = memchr(line, '\n', (size_t)(end - line));
        if (*line == '\r' || *line == '\n')
            return 0;
        if ((size_t)(end - line) >= sizeof ID && strncasecmp(line, ID, sizeof ID - 1) == 0) {
            uint64_t hash = 14695981039346656037U; /* FNV-1a */
            const char *c = line + sizeof ID - 1;
            for (; c < end && *c != '>'; c++)
                if (!isspace((unsigned char)*c))
                    hash = (hash ^ (unsigned char)*c) * 1099511628211U;
            return hash ? hash : 1;
        }
        if (!next)
            return 0;
        line = next + 1;
    }
    return 0;
}

/* The file, read piece by piece and with its line ends made CRLF. */
struct reader {
    int fd;
    off_t at;
    char last; /* the byte before */
    char out[2 * PIECE + 2];
    size_t n; /* bytes in `out` */
    char in[PIECE];
    size_t got; /* bytes in `in` */
};

/* The next piece; at the end of the file `got` is 0 and `n` may hold the missing line end. */
static int reader_next(struct reader *r) {
    ssize_t got;
    do
        got = pread(r->fd, r->in, sizeof r->in, r->at);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return err_errno("cannot read a mail file");
    r->got = (size_t)got;
    r->at += got;
    r->n = 0;
    for (size_t i = 0; i < r->got; i++) {
        if (r->in[i] == '\n' && r->last != '\r')
            r->out[r->n++] = '\r';
        r->last = r->out[r->n++] = r->in[i];
    }
    if (r->got == 0 && r->at > 0 && r->last != '\n') {
        if (r->last != '\r')
            r->out[r->n++] = '\r';
        r->last = r->out[r->n++] = '\n';
    }
    return 0;
}

int content_measure(int fd, struct content *ret) {
    struct content c = {0};
    cleanup(free) struct reader *r = calloc(1, sizeof *r);
    if (!r)
        return err_set(ERR_SYSTEM, "out of memory");
    r->fd = fd;
    do {
        int code = reader_next(r);
        if (code < 0)
            return code;
        if (c.size == 0)
            c.id = content_id(r->in, r->got < HEADER_MAX ? r->got : HEADER_MAX);
        c.size += r->got;
        c.crc = content_crc(c.crc, r->in, r->got);
        c.wire_size += r->n;
        c.wire_crc = content_crc(c.wire_crc, r->out, r->n);
    } while (r->got > 0);
    *ret = c;
    return 0;
}

int content_send(int fd, uint64_t wire_size, int (*out)(void *ctx, const char *data, size_t n), void *ctx) {
    cleanup(free) struct reader *r = calloc(1, sizeof *r);
    uint64_t sent = 0;
    if (!r)
        return err_set(ERR_SYSTEM, "out of memory");
    r->fd = fd;
    do {
        int code = reader_next(r);
        if (code < 0)
            return code;
        size_t n = r->n < wire_size - sent ? r->n : (size_t)(wire_size - sent);
        code = n ? out(ctx, r->out, n) : 0;
        if (code < 0)
            return code;
        sent += n;
    } while (r->got > 0 && sent < wire_size);
    return sent == wire_size ? 0 : err_set(ERR_PROTOCOL, "a mail file was cut while it was sent");
}
