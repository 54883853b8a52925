#include "server-api/server/store/store_user.h"
#include "platform/base/err.h"
#include "server-api/server/store/sql.h"

struct user_walk {
    store_user_fn *fn;
    void *arg;
};

static void user_read(const struct sql_row *row, struct store_user *ret) {
    sql_copy(row, 0, ret->login, sizeof ret->login);
    sql_copy(row, 1, ret->address, sizeof ret->address);
    sql_copy(row, 2, ret->name, sizeof ret->name);
    ret->created_at = sql_int(row, 3);
}

static int user_row(const struct sql_row *row, void *arg) {
    user_read(row, arg);
    return 0;
}

static int user_walk_row(const struct sql_row *row, void *arg) {
    const struct user_walk *walk = arg;
    struct store_user user;
    user_read(row, &user);
    return walk->fn(&user, walk->arg);
}

int store_user_add(struct store_tx *tx, const struct store_user *user) {
    int r = sql_change(tx,
                       "INSERT INTO users (login, address, name, created_at) VALUES ($1, $2, $3, $4) "
                       "ON CONFLICT DO NOTHING",
                       SQL_VALUES(sql_text(user->login), sql_text(user->address), sql_text(user->name),
                                  sql_number(user->created_at)));
    return r == ERR_NOT_FOUND ? STORE_EXISTS : r;
}

int store_user_get(struct store_tx *tx, const char *login, struct store_user *ret) {
    return sql_one(tx, "user", "SELECT login, address, name, created_at FROM users WHERE login = $1",
                   SQL_VALUES(sql_text(login)), user_row, ret);
}

int store_user_each(struct store_tx *tx, const char *after, size_t limit, store_user_fn *fn, void *arg) {
    struct user_walk walk = {.fn = fn, .arg = arg};
    return sql_each(tx,
                    "SELECT login, address, name, created_at FROM users WHERE login > $1 "
                    "ORDER BY login LIMIT $2",
                    SQL_VALUES(sql_text(after), sql_number((int64_t)limit)), user_walk_row, &walk);
}
