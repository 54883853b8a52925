/*
 * Published profiles, as they were signed. For domain/profiles.c.
 */
#ifndef SATCHEL_SERVER_STORE_PROFILE_H
#define SATCHEL_SERVER_STORE_PROFILE_H

#include "server-api/server/store/store_code.h"

#define STORE_ACTOR_SIZE 161

struct store_profile {
    int64_t version;
    char id[STORE_ID_SIZE];
    char published_by[STORE_ACTOR_SIZE];
    int64_t published_at;
    char *jws; /* owned; NULL in lists */
};

void store_profile_finish(struct store_profile *profile);
#define store_profile_cleanup store_profile_finish

int store_profile_add(struct store_tx *tx, const struct store_profile *profile);

/* The version, or the newest for 0. ERR_NOT_FOUND. *ret is finished by store_profile_finish(). */
int store_profile_get(struct store_tx *tx, int64_t version, struct store_profile *ret);

typedef int store_profile_fn(const struct store_profile *profile, void *arg);

/* Up to `limit` profiles of a version below `before` (0: from the newest), newest first, without their JWS.
 */
int store_profile_each(struct store_tx *tx, int64_t before, size_t limit, store_profile_fn *fn, void *arg);

#endif
