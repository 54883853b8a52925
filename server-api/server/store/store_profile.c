#include "server-api/server/store/store_profile.h"
#include "platform/base/err.h"
#include "server-api/server/store/sql.h"

#include <stdlib.h>

struct profile_walk {
    store_profile_fn *fn;
    void *arg;
};

void store_profile_finish(struct store_profile *profile) {
    free(profile->jws);
    *profile = (struct store_profile){0};
}

static void profile_read(const struct sql_row *row, struct store_profile *ret) {
    ret->version = sql_int(row, 0);
    sql_copy(row, 1, ret->id, sizeof ret->id);
    ret->published_at = sql_int(row, 2);
    sql_copy(row, 3, ret->published_by, sizeof ret->published_by);
}

static int profile_row(const struct sql_row *row, void *arg) {
    struct store_profile *ret = arg;
    profile_read(row, ret);
    ret->jws = sql_dup(row, 4);
    return ret->jws ? 0 : err_set(ERR_SYSTEM, "out of memory");
}

static int profile_walk_row(const struct sql_row *row, void *arg) {
    const struct profile_walk *walk = arg;
    struct store_profile profile = {0};
    profile_read(row, &profile);
    return walk->fn(&profile, walk->arg);
}

int store_profile_add(struct store_tx *tx, const struct store_profile *profile) {
    return sql_run(tx,
                   "INSERT INTO profiles (version, id, jws, published_at, published_by) "
                   "VALUES ($1, $2, $3, $4, $5)",
                   SQL_VALUES(sql_number(profile->version), sql_text(profile->id), sql_text(profile->jws),
                              sql_number(profile->published_at), sql_text(profile->published_by)));
}

int store_profile_get(struct store_tx *tx, int64_t version, struct store_profile *ret) {
    struct store_profile profile = {0};
    int r = version ? sql_one(tx, "profile version",
                              "SELECT version, id, published_at, published_by, jws FROM profiles "
                              "WHERE version = $1",
                              SQL_VALUES(sql_number(version)), profile_row, &profile)
                    : sql_one(tx, "profile",
                              "SELECT version, id, published_at, published_by, jws FROM profiles "
                              "ORDER BY version DESC LIMIT 1",
                              NULL, 0, profile_row, &profile);
    if (r < 0) {
        store_profile_finish(&profile);
        return r;
    }
    *ret = profile;
    return 0;
}

int store_profile_each(struct store_tx *tx, int64_t before, size_t limit, store_profile_fn *fn, void *arg) {
    struct profile_walk walk = {.fn = fn, .arg = arg};
    return sql_each(tx,
                    "SELECT version, id, published_at, published_by FROM profiles WHERE version < $1 "
                    "ORDER BY version DESC LIMIT $2",
                    SQL_VALUES(sql_number(before ? before : INT64_MAX), sql_number((int64_t)limit)),
                    profile_walk_row, &walk);
}
