/*
 * The trust document: which keys may sign profiles, which may sign orders, and how many of them are needed.
 * Signed by the organization's root key, whose fingerprint every device pinned when it enrolled. Versions
 * only go up.
 *
 * {"type":"trust","version":1,"organization":{"name":"Acme GmbH"},
 *  "keys":[{"kid":"...","spki":"base64url
 * DER","uses":["profile","order","time"]}],"thresholds":{"profile":1,"order":1,"time":1}}
 */
#ifndef SATCHEL_CONTRACT_TRUST_H
#define SATCHEL_CONTRACT_TRUST_H

#include "server-api/contract/jws.h"

#include <stdint.h>

#define TRUST_KEYS_MAX 16

/* TRUST_TIME may be absent from a document: see stamp.h. */
enum trust_use { TRUST_PROFILE, TRUST_ORDER, TRUST_TIME, TRUST_USES };

struct trust {
    int64_t version;
    char organization[129];
    size_t n[TRUST_USES];                            /* keys for each use */
    struct jws_key keys[TRUST_USES][TRUST_KEYS_MAX]; /* kid and key owned */
    size_t threshold[TRUST_USES];
};

/* The unsigned document for one key with every use. The caller's; NULL with err_text(). */
cJSON *trust_make(int64_t version, const char *organization, EVP_PKEY *key);

/* Verifies the document against the root key and reads it. ERR_SIGNATURE, ERR_INVALID. *ret is finished by
 * trust_finish(). */
int trust_open(const cJSON *jws, EVP_PKEY *root, struct trust *ret);
void trust_finish(struct trust *t);
#define trust_cleanup trust_finish

/* Verifies a profile or an order and hands out its payload. ERR_SIGNATURE, ERR_INVALID. */
int trust_verify(const struct trust *t, enum trust_use use, const cJSON *jws, cJSON **ret_payload);

#endif
