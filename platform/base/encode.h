/*
 * base64url without padding (RFC 4648 section 5), hexadecimal, and random bytes from the kernel.
 */
#ifndef SATCHEL_BASE_ENCODE_H
#define SATCHEL_BASE_ENCODE_H

#include "platform/base/buf.h"

#include <stddef.h>

/* The text of `n` bytes, owned by the caller; NULL without memory. */
char *encode_base64url(const void *data, size_t n);

/* Decodes a whole, unpadded text. ERR_INVALID for anything else, also for stray bits in the last character.
 * Appends to `ret`. */
int decode_base64url(const char *text, size_t n, struct buf *ret);

/* Lower-case hexadecimal of `n` bytes, owned by the caller; NULL without memory. */
char *encode_hex(const void *data, size_t n);

/* Fills `data` from getrandom(2); ends the process when the kernel has none to give. */
void random_bytes(void *data, size_t n);

/* 128 random bits as 26 characters of lower-case base32 (a-z, 2-7): an identifier that cannot be guessed. */
#define RANDOM_ID_SIZE 27
char *random_id(char out[RANDOM_ID_SIZE]);

#endif
