/*
 * JSON on top of cJSON: parsing with caps, typed look-ups with a sentence for what is wrong, and JSON
 * pointers.
 */
#ifndef SATCHEL_BASE_JSON_H
#define SATCHEL_BASE_JSON_H

#include "platform/base/cleanup.h"

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_MAX_DEPTH 32
#define JSON_MAX_MEMBERS 4096 /* of one object or array: what is larger comes in pages */

static inline void cJSON_cleanup(cJSON **json) {
    cJSON_Delete(*json);
}

/*
 * Parses exactly one document in `n` bytes (RFC 8259). ERR_INVALID for bad syntax, nesting over
 * JSON_MAX_DEPTH, a key twice in one object, NUL in a string, text behind the document. The caller caps `n`.
 */
int json_parse(const char *text, size_t n, cJSON **ret);

/* The compact text, owned by the caller; NULL without memory. */
char *json_print(const cJSON *json);

/* Look-ups in an object. json_str gives NULL, json_int and json_bool the default, where there is no such
 * member of that type. Integers are exact up to 2^53. */
const char *json_str(const cJSON *object, const char *key);
int64_t json_int(const cJSON *object, const char *key, int64_t otherwise);
bool json_bool(const cJSON *object, const char *key, bool otherwise);
const cJSON *json_object(const cJSON *object, const char *key);
const cJSON *json_array(const cJSON *object, const char *key);

/* A string member of 1 to `max` bytes. ERR_INVALID with a sentence that names the key. */
int json_need_str(const cJSON *object, const char *key, size_t max, const char **ret);

/* An integer member from `least` to `most`. ERR_INVALID with a sentence that names the key. */
int json_need_int(const cJSON *object, const char *key, int64_t least, int64_t most, int64_t *ret);

/* Adds a member; ERR_SYSTEM without memory. `text` NULL adds null. json_add_item takes over `item`, also on
 * failure. */
int json_add_str(cJSON *object, const char *key, const char *text);
int json_add_int(cJSON *object, const char *key, int64_t value);
int json_add_bool(cJSON *object, const char *key, bool value);
int json_add_item(cJSON *object, const char *key, cJSON *item);

/* Sets or replaces a string member. */
int json_set_str(cJSON *object, const char *key, const char *text);

/* Clears every string below `json` and frees it: for documents that carried a secret. */
void json_delete_secret(cJSON *json);

#endif
