/* /v1/admin/audit */
#include "server-api/server/domain/audit.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/base/json.h"
#include "server-api/server/endpoint/app.h"

struct audit_page {
    int64_t after;
    size_t limit;
    cJSON *list; /* borrowed */
    size_t n;
    int64_t last;
};

static int audit_page_add(const struct store_audit *entry, void *arg) {
    struct audit_page *page = arg;
    cJSON *json = cJSON_CreateObject();
    int failed = json_add_int(json, "sequence", entry->sequence) | app_add_time(json, "at", entry->at) |
                 json_add_str(json, "actor", entry->actor) | json_add_str(json, "action", entry->action) |
                 json_add_str(json, "subject", entry->subject) |
                 json_add_item(json, "detail", cJSON_Parse(entry->detail)) |
                 json_add_str(json, "hash", entry->hash);
    if (failed || !cJSON_AddItemToArray(page->list, json)) {
        cJSON_Delete(json);
        return err_set(ERR_SYSTEM, "audit entry %lld cannot be shown", (long long)entry->sequence);
    }
    page->n++;
    page->last = entry->sequence;
    return 0;
}

static int audit_page_body(struct store_tx *tx, void *arg) {
    struct audit_page *page = arg;
    return store_audit_each(tx, page->after, page->limit, audit_page_add, page);
}

int endpoint_audit_list(struct http_request *r) {
    struct audit_page page = {0};
    cleanup(cJSON) cJSON *json = cJSON_CreateObject();
    int e = app_page_number(r, 0, &page.after, &page.limit);
    if (e < 0)
        return e;
    page.list = cJSON_CreateArray();
    e = json_add_item(json, "entries", page.list);
    if (e == 0)
        e = store_read(app_of(r)->auth.store, audit_page_body, &page);
    return e < 0 ? e : app_answer_page(r, steal(json), page.n == page.limit, page.last);
}

int endpoint_audit_verify(struct http_request *r) {
    struct audit_verdict verdict;
    int e = audit_verify(app_of(r)->auth.store, &verdict);
    if (e < 0)
        return e;
    cJSON *json = cJSON_CreateObject();
    int failed = json_add_bool(json, "ok", verdict.broken == 0) |
                 json_add_int(json, "entries", verdict.entries) |
                 (verdict.broken ? json_add_int(json, "first_broken", verdict.broken)
                                 : json_add_str(json, "first_broken", NULL)) |
                 json_add_str(json, "head", verdict.head);
    if (failed) {
        cJSON_Delete(json);
        json = NULL;
    }
    return http_answer_json(r, 200, json);
}
