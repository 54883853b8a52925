/* /v1/admin/tokens */
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/base/json.h"
#include "server-api/server/domain/token.h"
#include "server-api/server/endpoint/app.h"

#include <string.h>

struct token_page {
    const char *after;
    size_t limit;
    cJSON *list; /* borrowed */
    size_t n;
    char last[STORE_ID_SIZE];
};

static cJSON *token_json(const struct store_token *token) {
    cJSON *json = cJSON_CreateObject();
    if (json_add_str(json, "id", token->id) < 0 || json_add_str(json, "name", token->name) < 0 ||
        json_add_str(json, "created_by", token->created_by) < 0 ||
        app_add_time(json, "created_at", token->created_at) < 0 ||
        app_add_time(json, "revoked_at", token->revoked_at) < 0) {
        cJSON_Delete(json);
        return NULL;
    }
    return json;
}

static int token_page_add(const struct store_token *token, void *arg) {
    struct token_page *page = arg;
    cJSON *json = token_json(token);
    if (!json || !cJSON_AddItemToArray(page->list, json)) {
        cJSON_Delete(json);
        return err_set(ERR_SYSTEM, "out of memory");
    }
    page->n++;
    memcpy(page->last, token->id, sizeof page->last);
    return 0;
}

static int token_page_body(struct store_tx *tx, void *arg) {
    struct token_page *page = arg;
    return store_token_each(tx, page->after, page->limit, token_page_add, page);
}

int endpoint_tokens_list(struct http_request *r) {
    struct token_page page = {0};
    cleanup(cJSON) cJSON *json = cJSON_CreateObject();
    int e = app_page(r, &page.after, &page.limit);
    if (e < 0)
        return e;
    page.list = cJSON_CreateArray();
    e = json_add_item(json, "tokens", page.list);
    if (e == 0)
        e = store_read(app_of(r)->auth.store, token_page_body, &page);
    if (e == 0)
        e = json_add_str(json, "next", page.n == page.limit ? page.last : NULL);
    return e < 0 ? e : http_answer_json(r, 200, steal(json));
}

int endpoint_tokens_create(struct http_request *r) {
    const char *name;
    struct store_token token = {0};
    char text[TOKEN_TEXT_SIZE];
    int e = json_need_str(r->json, "name", TOKEN_NAME_MAX, &name);
    if (e == 0)
        e = token_create(app_of(r)->auth.store, r->who.actor, name, &token, text);
    if (e == STORE_EXISTS)
        return http_problem(r, 409, "token-exists", "there is a token of that name already");
    if (e < 0)
        return e;
    cJSON *json = token_json(&token);
    if (json && json_add_str(json, "token", text) < 0) {
        cJSON_Delete(json);
        json = NULL;
    }
    explicit_bzero(text, sizeof text);
    return http_answer_json(r, 201, json);
}

int endpoint_tokens_revoke(struct http_request *r) {
    int e = token_revoke(app_of(r)->auth.store, r->who.actor, r->match.params[0]);
    return e < 0 ? e : http_answer_empty(r, 204);
}
