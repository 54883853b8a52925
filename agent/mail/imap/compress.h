/*
 * COMPRESS=DEFLATE (RFC 4978): one raw deflate stream in each direction. Neither function knows the
 * connection; whatever it makes goes through a buffer of the caller's, so that what a server packs tightly
 * never grows here. One thread.
 */
#ifndef SATCHEL_AGENT_MAIL_IMAP_COMPRESS_H
#define SATCHEL_AGENT_MAIL_IMAP_COMPRESS_H

#include <stddef.h>

struct imap_compressor;

/* ERR_SYSTEM. */
int imap_compressor_new(struct imap_compressor **ret);

/* NULL is allowed. */
void imap_compressor_free(struct imap_compressor *z);

/* Takes `n` bytes to send, which stay the caller's until imap_compressor_pack() gave 0 bytes. */
void imap_compressor_put(struct imap_compressor *z, const char *data, size_t n);

/* The next bytes for the line, at most `max` (more than 6); 0 when everything that was put is out, flushed.
 */
int imap_compressor_pack(struct imap_compressor *z, char *out, size_t max, size_t *ret_n);

/* Takes `n` bytes from the line, which stay the caller's until imap_compressor_unpack() gave 0 bytes. */
void imap_compressor_feed(struct imap_compressor *z, const char *data, size_t n);

/* The next plain bytes, at most `max`; 0: more has to be fed. ERR_PROTOCOL for what is no deflate stream, and
 * for its end. */
int imap_compressor_unpack(struct imap_compressor *z, char *out, size_t max, size_t *ret_n);

#endif
