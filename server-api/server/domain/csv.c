#include "server-api/server/domain/csv.h"
#include "platform/base/err.h"

#include <stdbool.h>
#include <string.h>

void csv_init(struct csv *c, const char *data, size_t n) {
    *c = (struct csv){.at = data, .end = data + n, .next_line = 1};
    if (n >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0)
        c->at += 3;
}

void csv_finish(struct csv *c) {
    buf_finish(&c->text);
}

/* Behind the line break that ends the record, quotes heeded as far as they go. */
static void csv_skip(struct csv *c) {
    while (c->at < c->end && *c->at != '\n')
        c->at++;
    if (c->at < c->end) {
        c->at++;
        c->next_line++;
    }
}

/* The inside of a quoted field; `at` is behind the opening quote. */
static int csv_quoted(struct csv *c) {
    for (; c->at < c->end; c->at++) {
        if (*c->at == '\n')
            c->next_line++;
        if (*c->at == '"') {
            if (c->at + 1 < c->end && c->at[1] == '"') {
                c->at++;
            } else {
                c->at++;
                return c->at == c->end || strchr(",\r\n", *c->at)
                           ? 0
                           : err_set(ERR_INVALID, "text behind a closing quote");
            }
        }
        if (*c->at == '\0')
            return err_set(ERR_INVALID, "a NUL byte");
        int r = buf_add(&c->text, c->at, 1);
        if (r < 0)
            return r;
    }
    return err_set(ERR_INVALID, "a quoted field without its end");
}

static int csv_plain(struct csv *c) {
    const char *from = c->at;
    for (; c->at < c->end && *c->at != ',' && *c->at != '\n'; c->at++) {
        if (*c->at == '"')
            return err_set(ERR_INVALID, "a quote inside a field that is not quoted");
        if (*c->at == '\0')
            return err_set(ERR_INVALID, "a NUL byte");
    }
    size_t n = (size_t)(c->at - from);
    if (n && from[n - 1] == '\r' && (c->at == c->end || *c->at == '\n'))
        n--;
    return buf_add(&c->text, from, n);
}

static int csv_record(struct csv *c) {
    size_t starts[CSV_FIELDS_MAX] = {0};
    for (c->n = 0;;) {
        if (c->n == CSV_FIELDS_MAX)
            return err_set(ERR_INVALID, "more than %d fields", CSV_FIELDS_MAX);
        starts[c->n++] = c->text.len;
        bool quoted = c->at < c->end && *c->at == '"';
        c->at += quoted ? 1 : 0;
        int r = quoted ? csv_quoted(c) : csv_plain(c);
        if (r == 0)
            r = buf_add(&c->text, "", 1);
        if (r < 0)
            return r;
        if (c->at < c->end && *c->at == '\r')
            c->at++;
        if (c->at == c->end || *c->at != ',')
            break;
        c->at++;
    }
    for (size_t i = 0; i < c->n; i++)
        c->fields[i] = c->text.data + starts[i];
    return 0;
}

int csv_next(struct csv *c) {
    while (c->at < c->end && (*c->at == '\n' || (*c->at == '\r' && c->at + 1 < c->end && c->at[1] == '\n')))
        csv_skip(c);
    if (c->at == c->end)
        return 0;
    buf_clear(&c->text);
    c->line = c->next_line;
    int r = csv_record(c);
    csv_skip(c);
    return r < 0 ? r : 1;
}
