/*
 * Modified UTF-7, the encoding of mailbox names (RFC 3501 section 5.1.3), to and from UTF-8. Strict: what a
 * conforming encoder would not write (a base64 run for plain ASCII, two runs side by side, stray bits, lone
 * surrogates, bytes over 126) is refused, so that two names never become one.
 */
#ifndef SATCHEL_AGENT_MAIL_IMAP_MUTF7_H
#define SATCHEL_AGENT_MAIL_IMAP_MUTF7_H

#include "platform/base/buf.h"

#include <stddef.h>

/* Appends the UTF-8 of `n` bytes to `ret`. ERR_INVALID for a malformed name. */
int mutf7_decode(const char *name, size_t n, struct buf *ret);

/* Appends the modified UTF-7 of `n` bytes of UTF-8 to `ret`. ERR_INVALID for what is not UTF-8. */
int mutf7_encode(const char *text, size_t n, struct buf *ret);

#endif
