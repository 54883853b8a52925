#include "server-api/contract/trust.h"
#include "platform/base/cleanup.h"
#include "platform/base/encode.h"
#include "platform/base/err.h"
#include "platform/base/json.h"

#include <stdio.h>
#include <string.h>

static const char *const trust_use_names[TRUST_USES] = {
    [TRUST_PROFILE] = "profile", [TRUST_ORDER] = "order", [TRUST_TIME] = "time"};
static const char *const trust_use_types[TRUST_USES] = {
    [TRUST_PROFILE] = JWS_TYPE_PROFILE, [TRUST_ORDER] = JWS_TYPE_ORDER, [TRUST_TIME] = JWS_TYPE_TIME};

static cJSON *trust_make_key(EVP_PKEY *key) {
    char kid[KEY_FINGERPRINT_SIZE];
    cleanup(buf) struct buf spki = {0};
    cleanup(cJSON) cJSON *item = cJSON_CreateObject();
    if (!item || key_fingerprint(key, kid) < 0 || key_spki(key, &spki) < 0)
        return NULL;
    cleanup(free) char *text = encode_base64url(spki.data, spki.len);
    if (!text || json_add_str(item, "kid", kid) < 0 || json_add_str(item, "spki", text) < 0 ||
        json_add_item(item, "uses", cJSON_CreateStringArray(trust_use_names, TRUST_USES)) < 0)
        return NULL;
    return steal(item);
}

cJSON *trust_make(int64_t version, const char *organization, EVP_PKEY *key) {
    cleanup(cJSON) cJSON *doc = cJSON_CreateObject();
    cJSON *org = cJSON_CreateObject(), *keys = cJSON_CreateArray(), *thresholds = cJSON_CreateObject();
    int r = json_add_str(doc, "type", "trust");
    r = json_add_item(doc, "organization", org) | json_add_item(doc, "keys", keys) |
        json_add_item(doc, "thresholds", thresholds) | json_add_int(doc, "version", version) | r;
    if (r == 0)
        r = json_add_str(org, "name", organization);
    for (int use = 0; r == 0 && use < TRUST_USES; use++)
        r = json_add_int(thresholds, trust_use_names[use], 1);
    cJSON *item = r == 0 ? trust_make_key(key) : NULL;
    if (!item || !cJSON_AddItemToArray(keys, item)) {
        cJSON_Delete(item);
        (void)err_set(ERR_SYSTEM, "cannot make the trust document");
        return NULL;
    }
    return steal(doc);
}

static int trust_read_key(const cJSON *item, struct trust *t) {
    const char *spki = "", *kid = "";
    int r = json_need_str(item, "spki", 1024, &spki);
    if (r == 0)
        r = json_need_str(item, "kid", KEY_FINGERPRINT_SIZE - 1, &kid);
    if (r < 0)
        return r;
    const cJSON *uses = json_array(item, "uses"), *use;
    cJSON_ArrayForEach(use, uses) {
        for (int u = 0; u < TRUST_USES; u++) {
            if (!cJSON_IsString(use) || strcmp(use->valuestring, trust_use_names[u]) != 0)
                continue;
            cleanup(buf) struct buf der = {.max = 1024};
            char fingerprint[KEY_FINGERPRINT_SIZE];
            r = decode_base64url(spki, strlen(spki), &der);
            cleanup(EVP_PKEY) EVP_PKEY *key =
                r == 0 ? key_from_spki(der.data ? der.data : "", der.len) : NULL;
            if (!key || key_fingerprint(key, fingerprint) < 0 || strcmp(fingerprint, kid) != 0)
                return err_set(ERR_INVALID, "a key in the trust document is damaged");
            for (size_t i = 0; i < t->n[u]; i++)
                if (strcmp(t->keys[u][i].kid, kid) == 0)
                    return err_set(ERR_INVALID, "a key stands twice in the trust document");
            if (t->n[u] == TRUST_KEYS_MAX)
                return err_set(ERR_INVALID, "more than %d keys in the trust document", TRUST_KEYS_MAX);
            char *copy = strdup(kid);
            if (!copy)
                return err_set(ERR_SYSTEM, "out of memory");
            t->keys[u][t->n[u]++] = (struct jws_key){.kid = copy, .key = steal(key)};
        }
    }
    return 0;
}

static int trust_read(const cJSON *doc, struct trust *t) {
    const char *type = json_str(doc, "type"), *name = "";
    if (!type || strcmp(type, "trust") != 0)
        return err_set(ERR_INVALID, "not a trust document");
    int r = json_need_int(doc, "version", 1, INT64_C(1) << 53, &t->version);
    if (r == 0)
        r = json_need_str(json_object(doc, "organization"), "name", sizeof t->organization - 1, &name);
    if (r < 0)
        return r;
    (void)snprintf(t->organization, sizeof t->organization, "%s", name);
    const cJSON *keys = json_array(doc, "keys"), *item;
    cJSON_ArrayForEach(item, keys) {
        r = trust_read_key(item, t);
        if (r < 0)
            return r;
    }
    for (int use = 0; use < TRUST_USES; use++) {
        int64_t threshold;
        if (use == TRUST_TIME && t->n[use] == 0)
            continue;
        r = json_need_int(json_object(doc, "thresholds"), trust_use_names[use], 1, TRUST_KEYS_MAX,
                          &threshold);
        if (r < 0)
            return r;
        if ((size_t)threshold > t->n[use])
            return err_set(ERR_INVALID, "the trust document has fewer keys than it demands signatures");
        t->threshold[use] = (size_t)threshold;
    }
    return 0;
}

int trust_open(const cJSON *jws, EVP_PKEY *root, struct trust *ret) {
    char kid[KEY_FINGERPRINT_SIZE];
    int r = key_fingerprint(root, kid);
    if (r < 0)
        return r;
    cleanup(cJSON) cJSON *doc = NULL;
    r = jws_verify(jws, JWS_TYPE_TRUST, &(struct jws_key){.kid = kid, .key = root}, 1, 1, &doc);
    if (r < 0)
        return err_context(r, "the trust document");
    struct trust t = {0};
    r = trust_read(doc, &t);
    if (r < 0) {
        trust_finish(&t);
        return r;
    }
    *ret = t;
    return 0;
}

void trust_finish(struct trust *t) {
    for (int use = 0; use < TRUST_USES; use++)
        for (size_t i = 0; i < t->n[use]; i++) {
            free((void *)(uintptr_t)t->keys[use][i].kid);
            EVP_PKEY_free(t->keys[use][i].key);
        }
    *t = (struct trust){0};
}

int trust_verify(const struct trust *t, enum trust_use use, const cJSON *jws, cJSON **ret_payload) {
    return jws_verify(jws, trust_use_types[use], t->keys[use], t->n[use], t->threshold[use], ret_payload);
}
