/*
 * Admin tokens, known by the SHA-256 of the token alone. For domain/tokens.c and auth/.
 */
#ifndef SATCHEL_SERVER_STORE_TOKEN_H
#define SATCHEL_SERVER_STORE_TOKEN_H

#include "server-api/server/store/store_profile.h"

#define TOKEN_NAME_MAX 64

struct store_token {
    char id[STORE_ID_SIZE];
    char name[TOKEN_NAME_MAX + 1];
    char hash[STORE_HASH_SIZE];
    char created_by[STORE_ACTOR_SIZE];
    int64_t created_at;
    int64_t revoked_at; /* 0: in force */
};

/* 0 or STORE_EXISTS (a token in force has the name). */
int store_token_add(struct store_tx *tx, const struct store_token *token);

/* ERR_NOT_FOUND. */
int store_token_get(struct store_tx *tx, const char *hash, struct store_token *ret);
int store_token_get_id(struct store_tx *tx, const char *id, struct store_token *ret);

/* ERR_NOT_FOUND for one that is not in force. */
int store_token_revoke(struct store_tx *tx, const char *id, int64_t now);

typedef int store_token_fn(const struct store_token *token, void *arg);

/* Up to `limit` tokens behind the id `after` ("": from the first), by id. */
int store_token_each(struct store_tx *tx, const char *after, size_t limit, store_token_fn *fn, void *arg);

#endif
