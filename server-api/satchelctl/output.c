#include "server-api/satchelctl/output.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/base/json.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define OUTPUT_COLUMNS_MAX 12

static int output_done(void) {
    return fflush(stdout) == 0 && !ferror(stdout) ? 0 : err_errno("cannot write to standard output");
}

static bool output_printed;

bool output_json_printed(void) {
    return output_printed;
}

int output_json(const cJSON *json) {
    char *text = json ? cJSON_Print(json) : NULL;
    if (!text)
        return err_set(ERR_SYSTEM, "out of memory");
    output_printed = true;
    (void)puts(text);
    explicit_bzero(text, strlen(text));
    free(text);
    return output_done();
}

char *output_value(const cJSON *value) {
    char *text = !value || cJSON_IsNull(value) ? strdup("-")
                 : cJSON_IsString(value)       ? strdup(value->valuestring)
                                               : json_print(value);
    for (char *p = text; p && *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = '?';
    return text;
}

/* Columns on a terminal: characters, not bytes. */
static int output_width(const char *text) {
    int n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static void output_cell(const char *text, int width, bool last) {
    (void)fputs(text, stdout);
    for (int pad = last ? 0 : width - output_width(text) + 2; pad > 0; pad--)
        (void)fputc(' ', stdout);
}

int output_table(const cJSON *array, const char *const *columns) {
    int widths[OUTPUT_COLUMNS_MAX] = {0}, n = 0;
    const cJSON *item;
    for (; n < OUTPUT_COLUMNS_MAX && columns[n]; n++)
        widths[n] = output_width(columns[n]);
    cJSON_ArrayForEach(item, array) {
        for (int i = 0; i < n; i++) {
            cleanup(free) char *text = output_value(cJSON_GetObjectItemCaseSensitive(item, columns[i]));
            int width = text ? output_width(text) : 0;
            widths[i] = width > widths[i] ? width : widths[i];
        }
    }
    for (int i = 0; i < n; i++)
        output_cell(columns[i], widths[i], i == n - 1);
    (void)fputc('\n', stdout);
    cJSON_ArrayForEach(item, array) {
        for (int i = 0; i < n; i++) {
            cleanup(free) char *text = output_value(cJSON_GetObjectItemCaseSensitive(item, columns[i]));
            output_cell(text ? text : "?", widths[i], i == n - 1);
        }
        (void)fputc('\n', stdout);
    }
    return output_done();
}

int output_fields(const cJSON *object, const char *const *keys) {
    int width = 0;
    for (int i = 0; keys[i]; i++)
        width = output_width(keys[i]) > width ? output_width(keys[i]) : width;
    for (int i = 0; keys[i]; i++) {
        cleanup(free) char *text = output_value(cJSON_GetObjectItemCaseSensitive(object, keys[i]));
        (void)printf("%s:%*s %s\n", keys[i], width - output_width(keys[i]), "", text ? text : "?");
    }
    return output_done();
}

const char *output_safe(const char *text) {
    static char ring[16][1200];
    static unsigned next;
    char *out = ring[next++ % 16];
    (void)snprintf(out, sizeof ring[0], "%s", text ? text : "-");
    for (char *p = out; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = '?';
    return out;
}
