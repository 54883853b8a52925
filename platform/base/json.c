#include "platform/base/json.h"
#include "platform/base/err.h"

#include <math.h>
#include <string.h>

/* What cJSON does not refuse and we do: depth, and NUL in a string (it would end the C string early). */
static int json_scan(const char *text, size_t n) {
    bool in_string = false;
    int depth = 0;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (c == '\0')
            return err_set(ERR_INVALID, "a NUL byte in JSON");
        if (in_string) {
            if (c == '\\') {
                if (n - i > 5 && memcmp(text + i + 1, "u0000", 5) == 0)
                    return err_set(ERR_INVALID, "a NUL character in a JSON string");
                i++;
                if (i < n && text[i] == '\0')
                    return err_set(ERR_INVALID, "a NUL byte in JSON");
            } else if (c == '"') {
                in_string = false;
            } else if ((unsigned char)c < ' ') {
                return err_set(ERR_INVALID, "a control character in a JSON string");
            }
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > JSON_MAX_DEPTH)
                return err_set(ERR_INVALID, "JSON nested deeper than %d", JSON_MAX_DEPTH);
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return 0;
}

static int json_check_members(const cJSON *json) {
    int count = 0;
    for (const cJSON *m = json->child; m; m = m->next) {
        if (++count > JSON_MAX_MEMBERS)
            return err_set(ERR_INVALID, "more than %d members in one JSON value", JSON_MAX_MEMBERS);
        if (cJSON_IsObject(json))
            for (const cJSON *other = json->child; other != m; other = other->next)
                if (strcmp(other->string, m->string) == 0)
                    return err_set(ERR_INVALID, "the key \"%.60s\" twice in one JSON object", m->string);
        if (m->child) {
            int r = json_check_members(m);
            if (r < 0)
                return r;
        }
    }
    return 0;
}

int json_parse(const char *text, size_t n, cJSON **ret) {
    int r = json_scan(text, n);
    if (r < 0)
        return r;
    const char *end = NULL;
    cleanup(cJSON) cJSON *json = cJSON_ParseWithLengthOpts(text, n, &end, false);
    if (!json)
        return err_set(ERR_INVALID, "not valid JSON near byte %zu",
                       end && end >= text ? (size_t)(end - text) : 0);
    for (; end < text + n; end++)
        if (!strchr(" \t\r\n", *end))
            return err_set(ERR_INVALID, "text behind the JSON document at byte %zu", (size_t)(end - text));
    r = json_check_members(json);
    if (r < 0)
        return r;
    *ret = steal(json);
    return 0;
}

char *json_print(const cJSON *json) {
    return cJSON_PrintUnformatted(json);
}

const char *json_str(const cJSON *object, const char *key) {
    const cJSON *m = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsString(m) ? m->valuestring : NULL;
}

static bool json_is_int(const cJSON *m) {
    return cJSON_IsNumber(m) && floor(m->valuedouble) == m->valuedouble &&
           fabs(m->valuedouble) <= 9007199254740992.0;
}

int64_t json_int(const cJSON *object, const char *key, int64_t otherwise) {
    const cJSON *m = cJSON_GetObjectItemCaseSensitive(object, key);
    return json_is_int(m) ? (int64_t)m->valuedouble : otherwise;
}

bool json_bool(const cJSON *object, const char *key, bool otherwise) {
    const cJSON *m = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsBool(m) ? cJSON_IsTrue(m) : otherwise;
}

const cJSON *json_object(const cJSON *object, const char *key) {
    const cJSON *m = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsObject(m) ? m : NULL;
}

const cJSON *json_array(const cJSON *object, const char *key) {
    const cJSON *m = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsArray(m) ? m : NULL;
}

int json_need_str(const cJSON *object, const char *key, size_t max, const char **ret) {
    const char *text = json_str(object, key);
    if (!text)
        return err_set(ERR_INVALID, "\"%s\" is missing or not a string", key);
    size_t n = strlen(text);
    if (n == 0 || n > max)
        return err_set(ERR_INVALID, "\"%s\" must have 1 to %zu bytes", key, max);
    *ret = text;
    return 0;
}

int json_need_int(const cJSON *object, const char *key, int64_t least, int64_t most, int64_t *ret) {
    const cJSON *m = cJSON_GetObjectItemCaseSensitive(object, key);
    if (!json_is_int(m))
        return err_set(ERR_INVALID, "\"%s\" is missing or not an integer", key);
    int64_t value = (int64_t)m->valuedouble;
    if (value < least || value > most)
        return err_set(ERR_INVALID, "\"%s\" must lie between %lld and %lld", key, (long long)least,
                       (long long)most);
    *ret = value;
    return 0;
}

int json_add_item(cJSON *object, const char *key, cJSON *item) {
    if (!item || !cJSON_AddItemToObject(object, key, item)) {
        cJSON_Delete(item);
        return err_set(ERR_SYSTEM, "out of memory");
    }
    return 0;
}

int json_add_str(cJSON *object, const char *key, const char *text) {
    return json_add_item(object, key, text ? cJSON_CreateString(text) : cJSON_CreateNull());
}

int json_add_int(cJSON *object, const char *key, int64_t value) {
    return json_add_item(object, key, cJSON_CreateNumber((double)value));
}

int json_add_bool(cJSON *object, const char *key, bool value) {
    return json_add_item(object, key, cJSON_CreateBool(value));
}

int json_set_str(cJSON *object, const char *key, const char *text) {
    cJSON_DeleteItemFromObjectCaseSensitive(object, key);
    return json_add_str(object, key, text);
}

static void json_clear_strings(cJSON *json) {
    for (cJSON *m = json; m; m = m->next) {
        if (m->valuestring)
            explicit_bzero(m->valuestring, strlen(m->valuestring));
        json_clear_strings(m->child);
    }
}

void json_delete_secret(cJSON *json) {
    if (json)
        json_clear_strings(json);
    cJSON_Delete(json);
}
