#include "agent/mail/imap/compress.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"

#include <stdbool.h>
#include <stdlib.h>
#define ZLIB_CONST
#include <zlib.h>

#define RAW_WINDOW (-15) /* no zlib header (RFC 4978 section 4) */
#define MEMORY_LEVEL 8

struct imap_compressor {
    z_stream out, in;
    bool has_out, has_in; /* which of them are set up */
    bool flushed;
};

static void compressor_cleanup(struct imap_compressor **z) {
    imap_compressor_free(*z);
}

int imap_compressor_new(struct imap_compressor **ret) {
    cleanup(compressor) struct imap_compressor *z = calloc(1, sizeof *z);
    if (!z)
        return err_set(ERR_SYSTEM, "out of memory");
    z->has_out = deflateInit2(&z->out, Z_DEFAULT_COMPRESSION, Z_DEFLATED, RAW_WINDOW, MEMORY_LEVEL,
                              Z_DEFAULT_STRATEGY) == Z_OK;
    z->has_in = inflateInit2(&z->in, RAW_WINDOW) == Z_OK;
    z->flushed = true;
    if (!z->has_out || !z->has_in)
        return err_set(ERR_SYSTEM, "out of memory");
    *ret = steal(z);
    return 0;
}

void imap_compressor_free(struct imap_compressor *z) {
    if (!z)
        return;
    if (z->has_out)
        (void)deflateEnd(&z->out);
    if (z->has_in)
        (void)inflateEnd(&z->in);
    free(z);
}

void imap_compressor_put(struct imap_compressor *z, const char *data, size_t n) {
    z->out.next_in = (const Bytef *)data;
    z->out.avail_in = (uInt)n;
    z->flushed = n == 0;
}

int imap_compressor_pack(struct imap_compressor *z, char *out, size_t max, size_t *ret_n) {
    size_t n = 0;
    if (!z->flushed) {
        z->out.next_out = (Bytef *)out;
        z->out.avail_out = (uInt)max;
        int r = deflate(&z->out, Z_SYNC_FLUSH);
        if (r != Z_OK && r != Z_BUF_ERROR)
            return err_set(ERR_SYSTEM, "cannot compress");
        n = max - z->out.avail_out;
        z->flushed = z->out.avail_out > 0; /* zlib's sign that the flush is complete */
    }
    *ret_n = n;
    return 0;
}

void imap_compressor_feed(struct imap_compressor *z, const char *data, size_t n) {
    z->in.next_in = (const Bytef *)data;
    z->in.avail_in = (uInt)n;
}

int imap_compressor_unpack(struct imap_compressor *z, char *out, size_t max, size_t *ret_n) {
    z->in.next_out = (Bytef *)out;
    z->in.avail_out = (uInt)max;
    int r = inflate(&z->in, Z_SYNC_FLUSH);
    size_t n = max - z->in.avail_out;
    if (n == 0 && r == Z_MEM_ERROR)
        return err_set(ERR_SYSTEM, "out of memory");
    if (n == 0 && r != Z_OK && r != Z_BUF_ERROR)
        return err_set(ERR_PROTOCOL, "the mail server broke the compression");
    *ret_n = n;
    return 0;
}
