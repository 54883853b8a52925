#include "server-api/server/domain/token.h"
#include "platform/base/clock.h"
#include "platform/base/encode.h"
#include "platform/base/err.h"
#include "server-api/server/domain/audit.h"
#include "server-api/server/domain/hash.h"
#include "server-api/server/domain/text.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct token_change {
    const char *actor, *id;
    struct store_token *token;
};

static int token_create_body(struct store_tx *tx, void *arg) {
    const struct token_change *c = arg;
    int r = store_token_add(tx, c->token);
    return r != 0
               ? r
               : audit_add(tx, c->actor, "token.created", c->token->id, audit_detail("name", c->token->name));
}

int token_create(struct store *s, const char *actor, const char *name, struct store_token *ret,
                 char ret_text[TOKEN_TEXT_SIZE]) {
    int r = text_check("name", name, TOKEN_NAME_MAX);
    if (r < 0)
        return r;
    unsigned char raw[32];
    random_bytes(raw, sizeof raw);
    char *secret = encode_base64url(raw, sizeof raw);
    explicit_bzero(raw, sizeof raw);
    if (!secret)
        return err_set(ERR_SYSTEM, "out of memory");
    char text[TOKEN_TEXT_SIZE];
    (void)snprintf(text, sizeof text, "satchel_%s", secret);
    explicit_bzero(secret, strlen(secret));
    free(secret);
    struct store_token token = {.created_at = clock_real_ms()};
    (void)random_id(token.id);
    (void)snprintf(token.name, sizeof token.name, "%s", name);
    (void)snprintf(token.created_by, sizeof token.created_by, "%s", actor);
    hash_text(text, token.hash);
    struct token_change change = {.actor = actor, .token = &token};
    r = store_write(s, token_create_body, &change);
    if (r == 0) {
        *ret = token;
        memcpy(ret_text, text, sizeof text);
    }
    explicit_bzero(text, sizeof text);
    return r;
}

static int token_revoke_body(struct store_tx *tx, void *arg) {
    const struct token_change *c = arg;
    int r = store_token_revoke(tx, c->id, clock_real_ms());
    return r < 0 ? r : audit_add(tx, c->actor, "token.revoked", c->id, NULL);
}

int token_revoke(struct store *s, const char *actor, const char *id) {
    struct token_change change = {.actor = actor, .id = id};
    return store_write(s, token_revoke_body, &change);
}

struct token_lookup {
    const char *hash;
    struct store_token *token;
};

static int token_lookup_body(struct store_tx *tx, void *arg) {
    const struct token_lookup *l = arg;
    return store_token_get(tx, l->hash, l->token);
}

int token_find(struct store *s, const char *text, struct store_token *ret) {
    char hash[STORE_HASH_SIZE];
    struct store_token token = {0};
    hash_text(text, hash);
    struct token_lookup lookup = {.hash = hash, .token = &token};
    int r = store_read(s, token_lookup_body, &lookup);
    if (r < 0 && r != ERR_NOT_FOUND)
        return r;
    if (r < 0 || token.revoked_at || CRYPTO_memcmp(hash, token.hash, sizeof hash) != 0)
        return err_set(ERR_AUTH, "the token is not one of ours, or it was revoked");
    *ret = token;
    return 0;
}
