/* /v1/admin/profiles */
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/base/json.h"
#include "server-api/server/domain/publication.h"
#include "server-api/server/endpoint/app.h"

#include <stdlib.h>
#include <string.h>

struct profile_page {
    int64_t before;
    size_t limit;
    cJSON *list; /* borrowed */
    size_t n;
    int64_t last;
};

static cJSON *profile_json(const struct store_profile *profile) {
    cJSON *json = cJSON_CreateObject();
    if (json_add_int(json, "version", profile->version) < 0 || json_add_str(json, "id", profile->id) < 0 ||
        app_add_time(json, "published_at", profile->published_at) < 0 ||
        json_add_str(json, "published_by", profile->published_by) < 0) {
        cJSON_Delete(json);
        return NULL;
    }
    return json;
}

static int profile_page_add(const struct store_profile *profile, void *arg) {
    struct profile_page *page = arg;
    cJSON *json = profile_json(profile);
    if (!json || !cJSON_AddItemToArray(page->list, json)) {
        cJSON_Delete(json);
        return err_set(ERR_SYSTEM, "out of memory");
    }
    page->n++;
    page->last = profile->version;
    return 0;
}

static int profile_page_body(struct store_tx *tx, void *arg) {
    struct profile_page *page = arg;
    return store_profile_each(tx, page->before, page->limit, profile_page_add, page);
}

/* Newest first: "after" is the version that the page before ended with. */
int endpoint_profiles_list(struct http_request *r) {
    struct profile_page page = {0};
    cleanup(cJSON) cJSON *json = cJSON_CreateObject();
    int e = app_page_number(r, 1, &page.before, &page.limit);
    if (e < 0)
        return e;
    page.list = cJSON_CreateArray();
    e = json_add_item(json, "profiles", page.list);
    if (e == 0)
        e = store_read(app_of(r)->auth.store, profile_page_body, &page);
    return e < 0 ? e : app_answer_page(r, steal(json), page.n == page.limit, page.last);
}

static int profiles_refuse(struct http_request *r, const struct profile_problems *problems) {
    cJSON *errors = cJSON_CreateArray();
    for (size_t i = 0; i < problems->n; i++) {
        cJSON *item = cJSON_CreateObject();
        if (json_add_str(item, "pointer", problems->items[i].pointer) < 0 ||
            json_add_str(item, "detail", problems->items[i].text) < 0 ||
            !cJSON_AddItemToArray(errors, item)) {
            cJSON_Delete(item);
            break;
        }
    }
    return http_problem_errors(r, 422, "profile-refused", errors, "the profile was not published");
}

int endpoint_profiles_publish(struct http_request *r) {
    struct app *app = app_of(r);
    struct profile_problems problems = {0};
    int e = publication_publish(app->auth.store, app->auth.organization, r->who.actor, r->json, &problems);
    if (e == ERR_REFUSED && problems.n)
        return profiles_refuse(r, &problems);
    if (e < 0)
        return e;
    hub_wake_all(app->hub);
    cJSON *json = cJSON_CreateObject();
    if (json_add_str(json, "id", profile_id(r->json)) < 0 ||
        json_add_int(json, "version", profile_version(r->json)) < 0) {
        cJSON_Delete(json);
        json = NULL;
    }
    return http_answer_json(r, 201, json);
}

struct profile_lookup {
    int64_t version;
    struct store_profile profile;
};

static int profile_lookup_body(struct store_tx *tx, void *arg) {
    struct profile_lookup *l = arg;
    return store_profile_get(tx, l->version, &l->profile);
}

/* "latest", or a version. */
int endpoint_profiles_show(struct http_request *r) {
    struct profile_lookup lookup = {0};
    const char *text = r->match.params[0];
    char *end = NULL;
    if (strcmp(text, "latest") != 0) {
        lookup.version = strtoll(text, &end, 10);
        if (lookup.version <= 0 || *end)
            return err_set(ERR_NOT_FOUND, "no such profile version");
    }
    int e = store_read(app_of(r)->auth.store, profile_lookup_body, &lookup);
    if (e < 0)
        return e;
    cJSON *json = profile_json(&lookup.profile);
    if (!json || json_add_item(json, "profile", publication_payload(lookup.profile.jws)) < 0 ||
        json_add_item(json, "jws", cJSON_Parse(lookup.profile.jws)) < 0) {
        cJSON_Delete(json);
        json = NULL;
    }
    store_profile_finish(&lookup.profile);
    return http_answer_json(r, 200, json);
}
