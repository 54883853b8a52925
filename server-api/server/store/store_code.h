/*
 * Enrollment codes, known by the SHA-256 of the code alone. For domain/enrollment.c.
 */
#ifndef SATCHEL_SERVER_STORE_CODE_H
#define SATCHEL_SERVER_STORE_CODE_H

#include "server-api/server/store/store_user.h"

#define STORE_ID_SIZE 65   /* identifiers: RANDOM_ID_SIZE today */
#define STORE_HASH_SIZE 65 /* hexadecimal SHA-256 */

struct store_code {
    char id[STORE_ID_SIZE];
    char hash[STORE_HASH_SIZE];
    char login[USER_LOGIN_MAX + 1];
    int64_t created_at, expires_at;
    int64_t used_at; /* 0: not used yet */
};

int store_code_add(struct store_tx *tx, const struct store_code *code);

/* ERR_NOT_FOUND. */
int store_code_get(struct store_tx *tx, const char *hash, struct store_code *ret);

/* Marks a code that is not used yet; ERR_NOT_FOUND for any other: of two that try, one wins. */
int store_code_use(struct store_tx *tx, const char *hash, int64_t now);

/* Forgets codes that expired before `before`. */
int store_code_prune(struct store_tx *tx, int64_t before);

#endif
