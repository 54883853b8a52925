#include "server-api/contract/report.h"
#include "platform/base/err.h"
#include "platform/base/json.h"
#include "platform/base/utf8.h"

#include <stdbool.h>
#include <string.h>

#define REPORT_NUMBER_MAX 9007199254740992.0 /* 2^53: exact in JSON */

const struct report_member report_members[REPORT_FIELDS] = {
    [REPORT_AGENT_VERSION] = {NULL, "agent_version", REPORT_TEXT, "the version of Satchel"},
    [REPORT_OS] = {NULL, "os", REPORT_TEXT, "the operating system and the version of its kernel"},
    [REPORT_STATE] = {NULL, "state", REPORT_TEXT, "whether this device is enrolled, locked or being wiped"},
    [REPORT_PROFILE_ID] = {"profile", "id", REPORT_TEXT, "which mail profile is in force"},
    [REPORT_PROFILE_VERSION] = {"profile", "version", REPORT_NUMBER, "in which version"},
    [REPORT_PROBLEM_VERSION] = {"profile_problem", "version", REPORT_NUMBER,
                                "which version of the profile was refused"},
    [REPORT_PROBLEM_TEXT] = {"profile_problem", "text", REPORT_TEXT, "why it was refused"},
    [REPORT_ACCOUNT_IMAP] = {"account", "imap", REPORT_TEXT,
                             "whether the mail server is reached and takes the password (one word)"},
    [REPORT_VAULT_DRIVER] = {"vault", "driver", REPORT_TEXT, "how the mail on this device is encrypted"},
    [REPORT_VAULT_OPEN] = {"vault", "open", REPORT_YES_NO, "whether it is open"},
    [REPORT_KEYRING_AVAILABLE] = {"keyring", "available", REPORT_YES_NO, "whether there is a keyring"},
    [REPORT_KEYRING_LOCKED] = {"keyring", "locked", REPORT_YES_NO, "whether it is locked"},
};

const struct report_member enroll_members[ENROLL_FIELDS] = {
    [ENROLL_NAME] = {NULL, "name", REPORT_TEXT, "the name of this device"},
    [ENROLL_OS] = {NULL, "os", REPORT_TEXT, "the operating system and the version of its kernel"},
    [ENROLL_AGENT_VERSION] = {NULL, "agent_version", REPORT_TEXT, "the version of Satchel"},
};

/* The object that has the field, made where it is absent. */
static cJSON *report_object(cJSON *report, const char *name) {
    cJSON *object = name ? cJSON_GetObjectItemCaseSensitive(report, name) : report;
    if (object)
        return object;
    object = cJSON_CreateObject();
    return json_add_item(report, name, object) == 0 ? object : NULL;
}

int report_set(cJSON *report, enum report_field field, cJSON *value) {
    const struct report_member *m = &report_members[field];
    if (!value)
        return 0;
    cJSON *object = report_object(report, m->object);
    if (!object) {
        cJSON_Delete(value);
        return err_set(ERR_SYSTEM, "out of memory");
    }
    return json_add_item(object, m->key, value);
}

static bool report_text_ok(const char *text) {
    size_t n;
    uint32_t code;
    for (const unsigned char *p = (const unsigned char *)text; *p; p += n) {
        n = utf8_sequence(p, &code);
        if (n == 0 || utf8_is_control(code))
            return false;
    }
    return strlen(text) <= REPORT_TEXT_MAX;
}

static bool report_value_ok(enum report_type type, const cJSON *value) {
    switch (type) {
    case REPORT_TEXT:
        return cJSON_IsString(value) && report_text_ok(value->valuestring);
    case REPORT_NUMBER:
        return cJSON_IsNumber(value) && value->valuedouble >= 0 && value->valuedouble <= REPORT_NUMBER_MAX;
    case REPORT_YES_NO:
        return cJSON_IsBool(value);
    }
    return false;
}

static cJSON *report_copy(enum report_type type, const cJSON *value) {
    return type == REPORT_NUMBER ? cJSON_CreateNumber((double)(int64_t)value->valuedouble)
                                 : cJSON_Duplicate(value, true);
}

int report_normalize(const cJSON *report, cJSON **ret) {
    cleanup(cJSON) cJSON *kept = cJSON_CreateObject();
    for (int i = 0; i < REPORT_FIELDS; i++) {
        const struct report_member *m = &report_members[i];
        const cJSON *object = m->object ? cJSON_GetObjectItemCaseSensitive(report, m->object) : report;
        if (!object || cJSON_IsNull(object))
            continue;
        if (!cJSON_IsObject(object))
            return err_set(ERR_INVALID, "%s: must be an object or null", m->object);
        const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, m->key);
        if (!value || cJSON_IsNull(value))
            continue;
        if (!report_value_ok(m->type, value))
            return err_set(ERR_INVALID, "%s%s%s: is not what it should be", m->object ? m->object : "",
                           m->object ? "." : "", m->key);
        int r = report_set(kept, (enum report_field)i, report_copy(m->type, value));
        if (r < 0)
            return r;
    }
    *ret = steal(kept);
    return 0;
}
