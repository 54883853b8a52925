#include "server-api/contract/receipt.h"
#include "platform/base/err.h"
#include "platform/base/json.h"
#include "server-api/contract/jws.h"

#include <string.h>

static const char *const receipt_results[] = {
    [RECEIPT_DONE] = "done", [RECEIPT_FAILED] = "failed", [RECEIPT_REFUSED] = "refused"};

const char *receipt_result_name(enum receipt_result result) {
    return receipt_results[result];
}

const struct receipt_check receipt_checks[] = {
    {"vault-mounts", "places where the vault is open"},
    {"vault-directories", "directories of the vault"},
    {"vault-processes", "programs that keep the vault open"},
    {"keyring-items", "secrets in the keyring, but for the key that signs this"},
    {"runtime-files", "files that the mail process left elsewhere"},
    {"account-records", "records of the mail account"},
    {"mail process", "running mail processes"},
    {"open vault", "places where the vault is open, and programs that keep it so"},
    {"locks", "locks that are left"},
};
const size_t receipt_checks_count = sizeof receipt_checks / sizeof *receipt_checks;

const char *receipt_check_words(const char *name) {
    for (size_t i = 0; i < receipt_checks_count; i++)
        if (strcmp(receipt_checks[i].name, name) == 0)
            return receipt_checks[i].words;
    return name;
}

cJSON *receipt_make(const cJSON *outcome, const struct receipt_about *about, EVP_PKEY *device_key) {
    const char *const members[][2] = {{"type", "receipt"},
                                      {"id", about->id},
                                      {"order", about->order},
                                      {"cause", about->cause},
                                      {"kind", about->kind},
                                      {"device", about->device},
                                      {"agent_version", SATCHEL_VERSION}};
    cleanup(cJSON) cJSON *payload = cJSON_Duplicate(outcome, true);
    int r = payload ? 0 : ERR_SYSTEM;
    for (size_t i = 0; r == 0 && i < sizeof members / sizeof *members; i++)
        r = json_set_str(payload, members[i][0], members[i][1]);
    if (r < 0) {
        (void)err_set(ERR_SYSTEM, "out of memory");
        return NULL;
    }
    return jws_sign(payload, JWS_TYPE_RECEIPT, &device_key, 1);
}

static int receipt_consistent(const cJSON *payload) {
    const cJSON *steps = json_array(payload, "steps"), *checked = json_array(payload, "checked"), *item;
    if (!steps || !checked || !steps->child || !checked->child)
        return err_set(ERR_INVALID,
                       "a receipt says \"done\" without its steps or without having looked again");
    cJSON_ArrayForEach(item, steps) {
        const char *outcome = json_str(item, "outcome");
        if (!outcome || strcmp(outcome, "failed") == 0)
            return err_set(ERR_INVALID, "a receipt says \"done\" with a step that failed");
    }
    cJSON_ArrayForEach(item, checked) {
        if (json_int(item, "found", -1) != 0)
            return err_set(ERR_INVALID, "a receipt says \"done\" with something found left");
    }
    return 0;
}

int receipt_open(const cJSON *jws, EVP_PKEY *device_key, const char *device, enum receipt_result *ret_result,
                 cJSON **ret_payload) {
    char kid[KEY_FINGERPRINT_SIZE];
    cleanup(cJSON) cJSON *payload = NULL;
    int r = key_fingerprint(device_key, kid);
    if (r == 0)
        r = jws_verify(jws, JWS_TYPE_RECEIPT, &(struct jws_key){.kid = kid, .key = device_key}, 1, 1,
                       &payload);
    if (r < 0)
        return r;
    const char *type = json_str(payload, "type"), *named = json_str(payload, "device"), *id,
               *result = json_str(payload, "result");
    if (!type || strcmp(type, "receipt") != 0 || !named || strcmp(named, device) != 0 || !result)
        return err_set(ERR_INVALID, "not a receipt of this device");
    r = json_need_str(payload, "id", 64, &id);
    if (r < 0)
        return r;
    for (size_t i = 0; i < sizeof receipt_results / sizeof *receipt_results; i++) {
        if (strcmp(result, receipt_results[i]) != 0)
            continue;
        r = i == RECEIPT_DONE ? receipt_consistent(payload) : 0;
        if (r < 0)
            return r;
        *ret_result = (enum receipt_result)i;
        *ret_payload = steal(payload);
        return 0;
    }
    return err_set(ERR_INVALID, "a receipt with an unknown result");
}
