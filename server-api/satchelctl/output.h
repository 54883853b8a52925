/*
 * What is printed: with --json one document, without it tables and "name: value" lines for people. Control
 * characters in what the server says are shown as "?".
 */
#ifndef SATCHEL_CTL_OUTPUT_H
#define SATCHEL_CTL_OUTPUT_H

#include <cjson/cJSON.h>
#include <stdbool.h>

/* The document and a newline. */
int output_json(const cJSON *json);

/* Whether output_json() has printed its one document. */
bool output_json_printed(void);

/* A table of the objects in `array`: `columns` are their keys (NULL at the end), printed as the heads. */
int output_table(const cJSON *array, const char *const *columns);

/* One line a key. Keys that are absent or null are shown as "-". */
int output_fields(const cJSON *object, const char *const *keys);

/* A text for a terminal: control characters become "?". Valid until the next call but fifteen. */
const char *output_safe(const char *text);

/* One value as text: strings as they are, null as "-". The caller's; NULL without memory. */
char *output_value(const cJSON *value);

#endif
