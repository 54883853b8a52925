#include "server-api/server/store/store_token.h"
#include "platform/base/err.h"
#include "server-api/server/store/sql.h"

struct token_walk {
    store_token_fn *fn;
    void *arg;
};

#define TOKEN_SELECT "SELECT id, name, hash, created_by, created_at, revoked_at FROM tokens "

static int token_row(const struct sql_row *row, void *arg) {
    struct store_token *ret = arg;
    sql_copy(row, 0, ret->id, sizeof ret->id);
    sql_copy(row, 1, ret->name, sizeof ret->name);
    sql_copy(row, 2, ret->hash, sizeof ret->hash);
    sql_copy(row, 3, ret->created_by, sizeof ret->created_by);
    ret->created_at = sql_int(row, 4);
    ret->revoked_at = sql_int(row, 5);
    return 0;
}

static int token_walk_row(const struct sql_row *row, void *arg) {
    const struct token_walk *walk = arg;
    struct store_token token;
    (void)token_row(row, &token);
    return walk->fn(&token, walk->arg);
}

int store_token_add(struct store_tx *tx, const struct store_token *t) {
    int r =
        sql_change(tx,
                   "INSERT INTO tokens (id, name, hash, created_at, created_by) VALUES ($1, $2, $3, $4, $5) "
                   "ON CONFLICT DO NOTHING",
                   SQL_VALUES(sql_text(t->id), sql_text(t->name), sql_text(t->hash),
                              sql_number(t->created_at), sql_text(t->created_by)));
    return r == ERR_NOT_FOUND ? STORE_EXISTS : r;
}

int store_token_get(struct store_tx *tx, const char *hash, struct store_token *ret) {
    return sql_one(tx, "token", TOKEN_SELECT "WHERE hash = $1", SQL_VALUES(sql_text(hash)), token_row, ret);
}

int store_token_get_id(struct store_tx *tx, const char *id, struct store_token *ret) {
    return sql_one(tx, "token", TOKEN_SELECT "WHERE id = $1", SQL_VALUES(sql_text(id)), token_row, ret);
}

int store_token_revoke(struct store_tx *tx, const char *id, int64_t now) {
    int r = sql_change(tx, "UPDATE tokens SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL",
                       SQL_VALUES(sql_number(now), sql_text(id)));
    return r == ERR_NOT_FOUND ? err_set(r, "no such token") : r;
}

int store_token_each(struct store_tx *tx, const char *after, size_t limit, store_token_fn *fn, void *arg) {
    struct token_walk walk = {.fn = fn, .arg = arg};
    return sql_each(tx, TOKEN_SELECT "WHERE id > $1 ORDER BY id LIMIT $2",
                    SQL_VALUES(sql_text(after), sql_number((int64_t)limit)), token_walk_row, &walk);
}
