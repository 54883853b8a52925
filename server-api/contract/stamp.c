#include "server-api/contract/stamp.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/base/json.h"

#include <stdio.h>
#include <string.h>

char *stamp_make(int64_t real_ms, EVP_PKEY *key) {
    char now[CLOCK_RFC3339_SIZE];
    cleanup(cJSON) cJSON *payload = cJSON_CreateObject();
    if (json_add_str(payload, "type", "time") < 0 ||
        json_add_str(payload, "time", clock_rfc3339(real_ms, now)) < 0) {
        (void)err_set(ERR_SYSTEM, "out of memory");
        return NULL;
    }
    cleanup(cJSON) cJSON *jws = jws_sign(payload, JWS_TYPE_TIME, &key, 1);
    const cJSON *signature = jws ? json_array(jws, "signatures")->child : NULL;
    cleanup(buf) struct buf text = {.max = STAMP_MAX};
    if (!signature || buf_printf(&text, "%s.%s.%s", json_str(signature, "protected"),
                                 json_str(jws, "payload"), json_str(signature, "signature")) < 0)
        return NULL;
    return buf_steal(&text);
}

/* The same in general serialization, which jws_verify() takes. */
static cJSON *stamp_expand(const char *text) {
    char parts[3][STAMP_MAX];
    for (int i = 0; i < 3; i++) {
        size_t n = strcspn(text, ".");
        if (n == 0 || n >= STAMP_MAX || (i < 2) != (text[n] == '.'))
            return NULL;
        (void)snprintf(parts[i], sizeof parts[i], "%.*s", (int)n, text);
        text += n + 1;
    }
    cleanup(cJSON) cJSON *jws = cJSON_CreateObject();
    cJSON *signatures = cJSON_CreateArray(), *one = cJSON_CreateObject();
    if (!cJSON_AddItemToArray(signatures, one)) {
        cJSON_Delete(one);
        cJSON_Delete(signatures);
        return NULL;
    }
    int r = json_add_item(jws, "signatures", signatures);
    if (r == 0)
        r = json_add_str(one, "protected", parts[0]) | json_add_str(one, "signature", parts[2]) |
            json_add_str(jws, "payload", parts[1]);
    return r < 0 ? NULL : steal(jws);
}

int stamp_open(const struct trust *trust, const char *text, int64_t *ret_ms) {
    cleanup(cJSON) cJSON *jws = strlen(text) <= STAMP_MAX ? stamp_expand(text) : NULL, *payload = NULL;
    if (!jws)
        return err_set(ERR_INVALID, "the server's time is not a signed one");
    enum trust_use use = trust->n[TRUST_TIME] ? TRUST_TIME : TRUST_ORDER;
    int r = jws_verify(jws, JWS_TYPE_TIME, trust->keys[use], trust->n[use], 1, &payload);
    if (r < 0)
        return err_context(r, "the server's time");
    const char *type = json_str(payload, "type"), *time = json_str(payload, "time");
    int64_t ms = type && strcmp(type, "time") == 0 && time ? clock_parse_rfc3339(time) : ERR_INVALID;
    if (ms < 0)
        return err_set(ERR_INVALID, "the server's signed time is none");
    *ret_ms = ms;
    return 0;
}
