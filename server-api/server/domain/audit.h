/*
 * The audit log: what an admin did, and every enrollment, order and receipt. Each entry's hash is
 * SHA-256(hash of the entry before || entry as canonical JSON), so that an entry that was changed or taken
 * out breaks the chain. No secret is ever in an entry.
 */
#ifndef SATCHEL_SERVER_DOMAIN_AUDIT_H
#define SATCHEL_SERVER_DOMAIN_AUDIT_H

#include "server-api/server/store/store_audit.h"

#include <cjson/cJSON.h>

/*
 * Adds an entry in the transaction of what it tells of: both are durable or neither. `actor` is "token:NAME",
 * "local:UID", "device:ID" or "server"; `detail` (may be NULL) is taken over.
 */
int audit_add(struct store_tx *tx, const char *actor, const char *action, const char *subject, cJSON *detail);

/* An object with one string member, for `detail`. */
cJSON *audit_detail(const char *key, const char *text);

struct audit_verdict {
    int64_t entries;            /* that were looked at, up to the broken one */
    int64_t broken;             /* sequence of the first broken entry, 0: none */
    char head[STORE_HASH_SIZE]; /* hash of the last good entry: note it elsewhere to notice a cut end */
};

/* Computes the whole chain again. */
int audit_verify(struct store *s, struct audit_verdict *ret);

#endif
