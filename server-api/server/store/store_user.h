/*
 * Users: the employees that devices are enrolled for. For domain/user.c and domain/enrollment.c.
 */
#ifndef SATCHEL_SERVER_STORE_USER_H
#define SATCHEL_SERVER_STORE_USER_H

#include "server-api/server/store/store.h"

#include <stddef.h>

#define USER_LOGIN_MAX 64
#define USER_ADDRESS_MAX 254
#define USER_NAME_MAX 128

struct store_user {
    char login[USER_LOGIN_MAX + 1];
    char address[USER_ADDRESS_MAX + 1];
    char name[USER_NAME_MAX + 1];
    int64_t created_at;
};

#define STORE_EXISTS 1 /* there is one already; nothing was changed */

/* 0 or STORE_EXISTS. */
int store_user_add(struct store_tx *tx, const struct store_user *user);

/* ERR_NOT_FOUND. */
int store_user_get(struct store_tx *tx, const char *login, struct store_user *ret);

typedef int store_user_fn(const struct store_user *user, void *arg);

/* Up to `limit` users behind the login `after` ("": from the first), by login. */
int store_user_each(struct store_tx *tx, const char *after, size_t limit, store_user_fn *fn, void *arg);

#endif
