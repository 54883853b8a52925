/* /v1/admin/users and /v1/admin/enrollment-codes */
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/base/json.h"
#include "server-api/server/domain/enrollment.h"
#include "server-api/server/domain/user.h"
#include "server-api/server/endpoint/app.h"

#include <stdio.h>
#include <string.h>

struct user_page {
    const char *after;
    size_t limit;
    cJSON *list; /* borrowed */
    size_t n;
    char last[USER_LOGIN_MAX + 1];
};

static cJSON *user_json(const struct store_user *user) {
    cJSON *json = cJSON_CreateObject();
    if (json_add_str(json, "login", user->login) < 0 || json_add_str(json, "address", user->address) < 0 ||
        json_add_str(json, "name", user->name) < 0 ||
        app_add_time(json, "created_at", user->created_at) < 0) {
        cJSON_Delete(json);
        return NULL;
    }
    return json;
}

static int user_page_add(const struct store_user *user, void *arg) {
    struct user_page *page = arg;
    cJSON *json = user_json(user);
    if (!json || !cJSON_AddItemToArray(page->list, json)) {
        cJSON_Delete(json);
        return err_set(ERR_SYSTEM, "out of memory");
    }
    page->n++;
    memcpy(page->last, user->login, sizeof page->last);
    return 0;
}

static int user_page_body(struct store_tx *tx, void *arg) {
    struct user_page *page = arg;
    return store_user_each(tx, page->after, page->limit, user_page_add, page);
}

int endpoint_users_list(struct http_request *r) {
    struct user_page page = {0};
    cleanup(cJSON) cJSON *json = cJSON_CreateObject();
    int e = app_page(r, &page.after, &page.limit);
    if (e < 0)
        return e;
    page.list = cJSON_CreateArray();
    e = json_add_item(json, "users", page.list);
    if (e == 0)
        e = store_read(app_of(r)->auth.store, user_page_body, &page);
    if (e == 0)
        e = json_add_str(json, "next", page.n == page.limit ? page.last : NULL);
    return e < 0 ? e : http_answer_json(r, 200, steal(json));
}

static int users_import(struct http_request *r) {
    struct user_import *import = calloc(1, sizeof *import);
    if (!import)
        return err_errno("cannot import");
    int e = user_import(app_of(r)->auth.store, r->who.actor, r->body.data ? r->body.data : "", r->body.len,
                        import);
    cJSON *json = e == 0 ? cJSON_CreateObject() : cJSON_CreateArray();
    for (size_t i = 0; e == ERR_REFUSED && i < import->n_problems; i++) {
        cJSON *item = cJSON_CreateObject();
        (void)(json_add_int(item, "line", (int64_t)import->problems[i].line) |
               json_add_str(item, "detail", import->problems[i].text));
        (void)cJSON_AddItemToArray(json, item);
    }
    size_t added = import->added;
    free(import);
    if (e == ERR_REFUSED)
        return http_problem_errors(r, 422, "csv", json, "nothing was imported: see the lines in errors");
    if (e == 0)
        e = json_add_int(json, "added", (int64_t)added);
    if (e < 0) {
        cJSON_Delete(json);
        return e;
    }
    return http_answer_json(r, 201, json);
}

int endpoint_users_add(struct http_request *r) {
    const char *type = http_header(r, "Content-Type"), *login, *address, *name;
    if (type && strncasecmp(type, HTTP_CSV, strlen(HTTP_CSV)) == 0)
        return users_import(r);
    cleanup(cJSON) cJSON *body = NULL;
    struct store_user user = {0};
    int e = json_parse(r->body.data ? r->body.data : "", r->body.len, &body);
    if (e == 0 && !cJSON_IsObject(body))
        e = err_set(ERR_INVALID, "the body must be a JSON object");
    if (e == 0)
        e = json_need_str(body, "login", USER_LOGIN_MAX, &login);
    if (e == 0)
        e = json_need_str(body, "address", USER_ADDRESS_MAX, &address);
    if (e == 0)
        e = json_need_str(body, "name", USER_NAME_MAX, &name);
    if (e == 0)
        e = user_make(login, address, name, &user);
    if (e == ERR_INVALID)
        return http_problem(r, 400, "invalid", "%s", err_text());
    if (e == 0)
        e = user_add(app_of(r)->auth.store, r->who.actor, &user);
    if (e == STORE_EXISTS)
        return http_problem(r, 409, "user-exists", "there is a user %s already", user.login);
    return e < 0 ? e : http_answer_json(r, 201, user_json(&user));
}

int endpoint_codes_create(struct http_request *r) {
    struct app *app = app_of(r);
    const char *login;
    int64_t seconds = ENROLLMENT_EXPIRES_DEFAULT;
    struct enrollment_code code = {0};
    int e = json_need_str(r->json, "login", USER_LOGIN_MAX, &login);
    if (e == 0 && cJSON_HasObjectItem(r->json, "expires_in"))
        e = json_need_int(r->json, "expires_in", ENROLLMENT_EXPIRES_LEAST, ENROLLMENT_EXPIRES_MOST, &seconds);
    if (e == 0)
        e = enrollment_code_create(app->auth.store, app->auth.organization, r->who.actor, login, seconds,
                                   &code);
    if (e < 0)
        return e;
    cJSON *json = cJSON_CreateObject();
    if (json_add_str(json, "link", code.link) < 0 || app_add_time(json, "expires_at", code.expires_at) < 0 ||
        json_add_str(json, "code_id", code.id) < 0) {
        cJSON_Delete(json);
        json = NULL;
    }
    explicit_bzero(code.link, sizeof code.link);
    return http_answer_json(r, 201, json);
}
