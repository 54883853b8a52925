#include "server-api/server/http/request.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/base/json.h"
#include "platform/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

int http_answer(struct http_request *r, unsigned status, const char *type, char *body, size_t size) {
    free(r->answer.body);
    r->answer.status = status;
    r->answer.type = type;
    r->answer.body = body;
    r->answer.size = size;
    return 0;
}

int http_answer_json(struct http_request *r, unsigned status, cJSON *json) {
    char *text = json ? json_print(json) : NULL;
    cJSON_Delete(json);
    if (!text)
        return http_fail(r, err_set(ERR_SYSTEM, "out of memory"));
    return http_answer(r, status, HTTP_JSON, text, strlen(text));
}

int http_answer_empty(struct http_request *r, unsigned status) {
    return http_answer(r, status, NULL, NULL, 0);
}

static const char *http_title(unsigned status) {
    static const struct {
        unsigned status;
        const char *title;
    } titles[] = {{400, "Bad request"},
                  {401, "Not authenticated"},
                  {403, "Not allowed"},
                  {404, "Not found"},
                  {405, "Method not allowed"},
                  {408, "Too slow"},
                  {409, "Conflict"},
                  {410, "Gone"},
                  {413, "Too large"},
                  {415, "Unsupported media type"},
                  {422, "Not acceptable as it is"},
                  {429, "Too many attempts"},
                  {503, "Not available now"}};
    for (size_t i = 0; i < sizeof titles / sizeof *titles; i++)
        if (titles[i].status == status)
            return titles[i].title;
    return "Failed";
}

int http_problem_errors(struct http_request *r, unsigned status, const char *kind, cJSON *errors,
                        const char *detail) {
    char type[96];
    (void)snprintf(type, sizeof type, "urn:satchel:problem:%s", kind);
    cleanup(cJSON) cJSON *problem = cJSON_CreateObject();
    int failed = json_add_str(problem, "type", type) | json_add_str(problem, "title", http_title(status)) |
                 json_add_int(problem, "status", status) | json_add_str(problem, "detail", detail);
    if (errors)
        failed |= json_add_item(problem, "errors", errors);
    char *text = failed ? NULL : json_print(problem);
    if (!text) {
        log_error("no memory for an answer");
        return http_answer(r, 500, NULL, NULL, 0);
    }
    return http_answer(r, status, "application/problem+json", text, strlen(text));
}

int http_problem(struct http_request *r, unsigned status, const char *kind, const char *fmt, ...) {
    char detail[1024];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(detail, sizeof detail, fmt, ap);
    va_end(ap);
    return http_problem_errors(r, status, kind, NULL, detail);
}

int http_fail(struct http_request *r, int code) {
    static const struct {
        int code;
        unsigned status;
    } statuses[] = {{ERR_INVALID, 400},   {ERR_NOT_FOUND, 404}, {ERR_TOO_LARGE, 413}, {ERR_WRONG_STATE, 409},
                    {ERR_SIGNATURE, 422}, {ERR_REFUSED, 422},   {ERR_AUTH, 401}};
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
        if (statuses[i].code == code)
            return http_problem(r, statuses[i].status, err_name(code), "%s", err_text());
    log_error("%s %s: %s", r->route ? r->route->key.method : "?", r->route ? r->route->key.path : "?",
              err_text());
    return http_problem(r, 500, "internal", "the server failed; its log says why");
}

int http_query_int(struct http_request *r, const char *name, int64_t least, int64_t most, int64_t otherwise,
                   int64_t *ret) {
    const char *text = http_query(r, name);
    if (!text) {
        *ret = otherwise;
        return 0;
    }
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno || *end || end == text || text[0] < '0' || text[0] > '9' || value < least || value > most)
        return err_set(ERR_INVALID, "%s: must be a whole number from %lld to %lld", name, (long long)least,
                       (long long)most);
    *ret = value;
    return 0;
}
