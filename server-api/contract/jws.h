/*
 * JWS, general JSON serialization (RFC 7515 section 7.2.1), ES256 and nothing else. The protected header of
 * each signature has exactly "alg", "kid" (key_fingerprint) and "typ", which keeps a document of one kind
 * from being taken for another.
 */
#ifndef SATCHEL_CONTRACT_JWS_H
#define SATCHEL_CONTRACT_JWS_H

#include "platform/base/buf.h"
#include "server-api/contract/key.h"

#include <cjson/cJSON.h>
#include <stddef.h>

#define JWS_MAX ((size_t)512 << 10)
#define JWS_SIGNATURES_MAX 16

#define JWS_TYPE_TRUST "satchel-trust"
#define JWS_TYPE_PROFILE "satchel-profile"
#define JWS_TYPE_ORDER "satchel-order"
#define JWS_TYPE_RECEIPT "satchel-receipt"
#define JWS_TYPE_TIME "satchel-time"
#define JWS_TYPE_TOKEN "satchel-token"

/* A key that may sign, borrowed for the call. */
struct jws_key {
    const char *kid;
    EVP_PKEY *key;
};

/* Signs `payload` with each of the `n` keys. The document is the caller's; NULL with err_text(). */
cJSON *jws_sign(const cJSON *payload, const char *type, EVP_PKEY *const *keys, size_t n);

/*
 * Verifies that at least `threshold` (1 or more) *different* keys of the list signed the payload as `type`,
 * and parses the payload. Signatures by keys that are not listed are passed over; a damaged signature by a
 * listed one fails the whole. ERR_SIGNATURE, or ERR_INVALID for a document that is not a JWS at all.
 */
int jws_verify(const cJSON *jws, const char *type, const struct jws_key *keys, size_t n, size_t threshold,
               cJSON **ret_payload);

/* The payload WITHOUT any verification: to name what is refused, or to read what this program itself stored.
 * ERR_INVALID. */
int jws_peek(const cJSON *jws, cJSON **ret_payload);

#endif
