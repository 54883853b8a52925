/*
 * The stamp: the management server's own time, signed. A compact JWS (RFC 7515 section 3.1) of type
 * JWS_TYPE_TIME, small enough for a header: every answer to GET /v1/device/state carries it, 304 too, so that
 * a device that has nothing to be told still knows, and can keep, when it was last in contact. Payload:
 * {"type":"time","time":"RFC 3339"}. It is the organization's time and names no device: the server makes one
 * a second for all.
 */
#ifndef SATCHEL_CONTRACT_STAMP_H
#define SATCHEL_CONTRACT_STAMP_H

#include "server-api/contract/trust.h"

#define STAMP_HEADER "Satchel-Time"
#define STAMP_MAX 1024 /* bytes */

/* The caller's; NULL with err_text(). */
char *stamp_make(int64_t real_ms, EVP_PKEY *key);

/*
 * The time of a stamp by one of the keys that the trust document names for time (where it names none: by one
 * that may sign orders). ERR_SIGNATURE, ERR_INVALID.
 */
int stamp_open(const struct trust *trust, const char *text, int64_t *ret_ms);

#endif
