#include "server-api/server/store/store_code.h"
#include "server-api/server/store/sql.h"

static int code_row(const struct sql_row *row, void *arg) {
    struct store_code *ret = arg;
    sql_copy(row, 0, ret->id, sizeof ret->id);
    sql_copy(row, 1, ret->hash, sizeof ret->hash);
    sql_copy(row, 2, ret->login, sizeof ret->login);
    ret->created_at = sql_int(row, 3);
    ret->expires_at = sql_int(row, 4);
    ret->used_at = sql_int(row, 5);
    return 0;
}

int store_code_add(struct store_tx *tx, const struct store_code *code) {
    return sql_run(tx,
                   "INSERT INTO codes (id, hash, login, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)",
                   SQL_VALUES(sql_text(code->id), sql_text(code->hash), sql_text(code->login),
                              sql_number(code->created_at), sql_number(code->expires_at)));
}

int store_code_get(struct store_tx *tx, const char *hash, struct store_code *ret) {
    return sql_one(tx, "enrollment code",
                   "SELECT id, hash, login, created_at, expires_at, used_at FROM codes WHERE hash = $1",
                   SQL_VALUES(sql_text(hash)), code_row, ret);
}

int store_code_use(struct store_tx *tx, const char *hash, int64_t now) {
    return sql_change(tx, "UPDATE codes SET used_at = $1 WHERE hash = $2 AND used_at IS NULL",
                      SQL_VALUES(sql_number(now), sql_text(hash)));
}

int store_code_prune(struct store_tx *tx, int64_t before) {
    return sql_run(tx, "DELETE FROM codes WHERE expires_at < $1", SQL_VALUES(sql_number(before)));
}
