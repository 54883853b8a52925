/*
 * Tokens of admins: 256 random bits, shown once, kept as SHA-256 alone.
 */
#ifndef SATCHEL_SERVER_DOMAIN_TOKEN_H
#define SATCHEL_SERVER_DOMAIN_TOKEN_H

#include "server-api/server/store/store_token.h"

#define TOKEN_TEXT_SIZE 64 /* "satchel_" and 43 characters base64url, with room */

/* ret_text is the secret: the caller clears it. STORE_EXISTS when a token in force has the name, ERR_INVALID
 * for the name. */
int token_create(struct store *s, const char *actor, const char *name, struct store_token *ret,
                 char ret_text[TOKEN_TEXT_SIZE]);

/* ERR_NOT_FOUND. */
int token_revoke(struct store *s, const char *actor, const char *id);

/* The token in force with this text. ERR_AUTH. */
int token_find(struct store *s, const char *text, struct store_token *ret);

#endif
