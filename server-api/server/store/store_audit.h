/*
 * The audit log: entries are added and read, never changed. The chain of hashes is made in domain/audit.c.
 */
#ifndef SATCHEL_SERVER_STORE_AUDIT_H
#define SATCHEL_SERVER_STORE_AUDIT_H

#include "server-api/server/store/store_profile.h"

struct store_audit {
    int64_t sequence, at;
    const char *actor, *action, *subject, *detail; /* borrowed: for the call, or for the callback */
    const char *hash;
};

int store_audit_add(struct store_tx *tx, const struct store_audit *entry);

/* Sequence and hash of the newest entry; 0 and "" where there is none. */
int store_audit_last(struct store_tx *tx, int64_t *ret_sequence, char ret_hash[STORE_HASH_SIZE]);

typedef int store_audit_fn(const struct store_audit *entry, void *arg);

/* Up to `limit` entries behind the sequence `after`, oldest first. */
int store_audit_each(struct store_tx *tx, int64_t after, size_t limit, store_audit_fn *fn, void *arg);

#endif
