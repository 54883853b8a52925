#include "server-api/server/domain/publication.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/base/json.h"
#include "server-api/contract/jws.h"
#include "server-api/server/domain/audit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct publication {
    struct store_profile *profile;
    int64_t newest;
};

static int publication_body(struct store_tx *tx, void *arg) {
    struct publication *p = arg;
    cleanup(store_profile) struct store_profile newest = {0};
    int r = store_profile_get(tx, 0, &newest);
    if (r < 0 && r != ERR_NOT_FOUND)
        return r;
    p->newest = newest.version;
    if (p->profile->version <= newest.version)
        return err_set(ERR_REFUSED, "the version is not higher than the newest");
    r = store_profile_add(tx, p->profile);
    if (r < 0)
        return r;
    char subject[32];
    (void)snprintf(subject, sizeof subject, "%lld", (long long)p->profile->version);
    return audit_add(tx, p->profile->published_by, "profile.published", subject,
                     audit_detail("id", p->profile->id));
}

int publication_publish(struct store *s, struct organization *o, const char *actor, const cJSON *profile,
                        struct profile_problems *ret_problems) {
    struct profile_problems problems;
    int r = profile_check(profile, PROFILE_PUBLISHED, &problems);
    cleanup(free) char *text = r == 0 ? json_print(profile) : NULL;
    if (text && strlen(text) > PROFILE_MAX)
        profile_problem_add(&problems, "", "the profile has more than %zu bytes", PROFILE_MAX);
    if (problems.n) {
        *ret_problems = problems;
        return r < 0 ? r : err_set(ERR_REFUSED, "%s", problems.items[0].text);
    }
    cleanup(store_profile) struct store_profile row = {.version = profile_version(profile),
                                                       .published_at = clock_real_ms()};
    (void)snprintf(row.id, sizeof row.id, "%s", profile_id(profile));
    (void)snprintf(row.published_by, sizeof row.published_by, "%s", actor);
    row.jws = organization_sign(o, profile, JWS_TYPE_PROFILE);
    if (!row.jws)
        return err_set(ERR_SYSTEM, "cannot sign the profile");
    struct publication publication = {.profile = &row};
    r = store_write(s, publication_body, &publication);
    if (r == ERR_REFUSED) {
        profile_problem_add(&problems, "/version", "must be higher than %lld, the newest published version",
                            (long long)publication.newest);
        *ret_problems = problems;
    }
    return r;
}

cJSON *publication_payload(const char *text) {
    cleanup(cJSON) cJSON *jws = NULL, *payload = NULL;
    if (json_parse(text, strlen(text), &jws) < 0 || jws_peek(jws, &payload) < 0) {
        (void)err_set(ERR_SYSTEM, "a stored document is damaged");
        return NULL;
    }
    return steal(payload);
}
