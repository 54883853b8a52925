#include "server-api/contract/jws.h"
#include "platform/base/cleanup.h"
#include "platform/base/encode.h"
#include "platform/base/err.h"
#include "platform/base/json.h"

#include <stdbool.h>
#include <string.h>

/* RFC 7515 section 5.1: ASCII(BASE64URL(protected) || '.' || BASE64URL(payload)) */
static int jws_signing_input(const char *protected_text, const char *payload_text, struct buf *ret) {
    int r = buf_add_str(ret, protected_text);
    if (r == 0)
        r = buf_add(ret, ".", 1);
    return r == 0 ? buf_add_str(ret, payload_text) : r;
}

static char *jws_header(const char *type, EVP_PKEY *key) {
    char kid[KEY_FINGERPRINT_SIZE];
    cleanup(cJSON) cJSON *header = cJSON_CreateObject();
    if (!header || key_fingerprint(key, kid) < 0 || json_add_str(header, "alg", "ES256") < 0 ||
        json_add_str(header, "kid", kid) < 0 || json_add_str(header, "typ", type) < 0)
        return NULL;
    cleanup(free) char *text = json_print(header);
    return text ? encode_base64url(text, strlen(text)) : NULL;
}

static cJSON *jws_signature(const char *payload_text, const char *type, EVP_PKEY *key) {
    unsigned char raw[KEY_SIGNATURE_SIZE];
    cleanup(buf) struct buf input = {0};
    cleanup(free) char *header = jws_header(type, key);
    if (!header || jws_signing_input(header, payload_text, &input) < 0 ||
        key_sign(key, input.data, input.len, raw) < 0)
        return NULL;
    cleanup(free) char *text = encode_base64url(raw, sizeof raw);
    cleanup(cJSON) cJSON *signature = cJSON_CreateObject();
    if (!text || !signature || json_add_str(signature, "protected", header) < 0 ||
        json_add_str(signature, "signature", text) < 0)
        return NULL;
    return steal(signature);
}

cJSON *jws_sign(const cJSON *payload, const char *type, EVP_PKEY *const *keys, size_t n) {
    cleanup(free) char *plain = json_print(payload);
    cleanup(free) char *payload_text = plain ? encode_base64url(plain, strlen(plain)) : NULL;
    cleanup(cJSON) cJSON *jws = cJSON_CreateObject();
    cJSON *signatures = cJSON_CreateArray();
    if (!jws || !payload_text || json_add_item(jws, "signatures", signatures) < 0) {
        (void)err_set(ERR_SYSTEM, "out of memory");
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        cJSON *signature = jws_signature(payload_text, type, keys[i]);
        if (!signature || !cJSON_AddItemToArray(signatures, signature)) {
            cJSON_Delete(signature);
            (void)err_set(ERR_SYSTEM, "cannot sign the document");
            return NULL;
        }
    }
    return json_add_str(jws, "payload", payload_text) < 0 ? NULL : steal(jws);
}

/* The kid of a protected header that says what we say and nothing more; NULL otherwise. */
static const struct jws_key *jws_signer(const char *protected_text, const char *type,
                                        const struct jws_key *keys, size_t n) {
    cleanup(buf) struct buf text = {.max = 4096};
    cleanup(cJSON) cJSON *header = NULL;
    if (strlen(protected_text) > 4096 ||
        decode_base64url(protected_text, strlen(protected_text), &text) < 0 || !text.len ||
        json_parse(text.data, text.len, &header) < 0)
        return NULL;
    const char *alg = json_str(header, "alg"), *kid = json_str(header, "kid"), *typ = json_str(header, "typ");
    if (!alg || !kid || !typ || cJSON_GetArraySize(header) != 3 || strcmp(alg, "ES256") != 0 ||
        strcmp(typ, type) != 0)
        return NULL;
    for (size_t i = 0; i < n; i++)
        if (strcmp(keys[i].kid, kid) == 0)
            return &keys[i];
    return NULL;
}

static int jws_check(const cJSON *signature, const char *protected_text, const char *payload_text,
                     EVP_PKEY *key) {
    const char *text = json_str(signature, "signature");
    cleanup(buf) struct buf raw = {.max = 256}, input = {0};
    if (!text || strlen(text) > 256 || decode_base64url(text, strlen(text), &raw) < 0 ||
        raw.len != KEY_SIGNATURE_SIZE)
        return err_set(ERR_SIGNATURE, "a malformed signature");
    int r = jws_signing_input(protected_text, payload_text, &input);
    return r < 0 ? r : key_verify(key, input.data, input.len, (const unsigned char *)raw.data);
}

int jws_peek(const cJSON *jws, cJSON **ret_payload) {
    const char *text = json_str(jws, "payload");
    cleanup(buf) struct buf payload = {.max = JWS_MAX};
    int r = text ? decode_base64url(text, strlen(text), &payload)
                 : err_set(ERR_INVALID, "not a JWS in general JSON serialization");
    return r < 0 ? r : json_parse(payload.len ? payload.data : "", payload.len, ret_payload);
}

int jws_verify(const cJSON *jws, const char *type, const struct jws_key *keys, size_t n, size_t threshold,
               cJSON **ret_payload) {
    const char *payload_text = json_str(jws, "payload");
    const cJSON *signatures = json_array(jws, "signatures");
    if (!payload_text || !signatures)
        return err_set(ERR_INVALID, "not a JWS in general JSON serialization");
    if (strlen(payload_text) > JWS_MAX || cJSON_GetArraySize(signatures) > JWS_SIGNATURES_MAX)
        return err_set(ERR_INVALID, "a JWS over its caps");
    const struct jws_key *seen[JWS_SIGNATURES_MAX];
    size_t good = 0;
    const cJSON *signature;
    cJSON_ArrayForEach(signature, signatures) {
        const char *protected_text = json_str(signature, "protected");
        const struct jws_key *signer = protected_text ? jws_signer(protected_text, type, keys, n) : NULL;
        if (!signer || cJSON_GetObjectItemCaseSensitive(signature, "header"))
            continue;
        int r = jws_check(signature, protected_text, payload_text, signer->key);
        if (r < 0)
            return r;
        bool again = false;
        for (size_t i = 0; i < good; i++)
            again = again || seen[i] == signer;
        if (!again)
            seen[good++] = signer;
    }
    if (good == 0)
        return err_set(ERR_SIGNATURE, "no signature by a key that may sign a %s", type + strlen("satchel-"));
    if (good < threshold || threshold == 0)
        return err_set(ERR_SIGNATURE, "%zu of %zu signatures that a %s needs", good, threshold,
                       type + strlen("satchel-"));
    return jws_peek(jws, ret_payload);
}
