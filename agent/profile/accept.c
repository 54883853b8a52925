#include "agent/profile/accept.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/base/file.h"
#include "platform/base/json.h"
#include "server-api/contract/profile.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define ACCEPT_FILE "profile.json"

/* The version that an unverified document claims: only to say which one was refused. */
static int64_t accept_claimed_version(const cJSON *jws) {
    cleanup(cJSON) cJSON *claimed = NULL;
    return jws_peek(jws, &claimed) == 0 ? json_int(claimed, "version", 0) : 0;
}

static int accept_open(const struct trust *trust, const cJSON *jws, cJSON **ret_profile) {
    struct profile_problems problems;
    cleanup(cJSON) cJSON *profile = NULL;
    int r = trust_verify(trust, TRUST_PROFILE, jws, &profile);
    if (r == 0)
        r = profile_check(profile, PROFILE_RECEIVED, &problems);
    if (r == 0)
        *ret_profile = steal(profile);
    return r;
}

int accept_check(const struct trust *trust, const cJSON *jws, const cJSON *in_force, cJSON **ret_profile,
                 int64_t *ret_version) {
    *ret_version = accept_claimed_version(jws);
    cleanup(cJSON) cJSON *profile = NULL;
    int r = accept_open(trust, jws, &profile);
    if (r < 0)
        return r;
    int64_t version = profile_version(profile), now = in_force ? profile_version(in_force) : 0;
    if (version == now && cJSON_Compare(profile, in_force, true))
        return 1;
    if (version <= now)
        return err_set(ERR_REFUSED, "/version: %lld is not higher than %lld, which is in force",
                       (long long)version, (long long)now);
    *ret_profile = steal(profile);
    return 0;
}

int accept_store(int state_dir, const cJSON *jws) {
    cleanup(free) char *text = json_print(jws);
    return text ? file_write_atomic(state_dir, ACCEPT_FILE, text, strlen(text), 0600)
                : err_set(ERR_SYSTEM, "out of memory");
}

int accept_load(int state_dir, const struct trust *trust, cJSON **ret_profile) {
    cleanup(buf) struct buf text = {.max = 2 * JWS_MAX};
    cleanup(cJSON) cJSON *jws = NULL;
    int r = file_read(state_dir, ACCEPT_FILE, 2 * JWS_MAX, &text);
    if (r == ERR_NOT_FOUND)
        return 1;
    if (r == 0)
        r = json_parse(text.data ? text.data : "", text.len, &jws);
    if (r == 0)
        r = accept_open(trust, jws, ret_profile);
    return r < 0 ? err_context(r, "the stored profile " ACCEPT_FILE) : 0;
}

int accept_load_jws(int state_dir, cJSON **ret) {
    cleanup(buf) struct buf text = {.max = 2 * JWS_MAX};
    int r = file_read(state_dir, ACCEPT_FILE, 2 * JWS_MAX, &text);
    return r < 0 ? r : json_parse(text.data ? text.data : "", text.len, ret);
}

int accept_remove(int state_dir) {
    return file_remove(state_dir, ACCEPT_FILE);
}

bool accept_stored(int state_dir) {
    return faccessat(state_dir, ACCEPT_FILE, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}
