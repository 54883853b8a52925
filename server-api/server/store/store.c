#include "server-api/server/store/store.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "server-api/server/store/sql.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct store {
    const struct store_driver *driver;
    void *state;
};

static const struct store_driver *const store_drivers[] = {&store_driver_sqlite};

int store_open(const char *url, struct store **ret) {
    for (size_t i = 0; i < sizeof store_drivers / sizeof *store_drivers; i++) {
        size_t n = strlen(store_drivers[i]->scheme);
        if (strncmp(url, store_drivers[i]->scheme, n) != 0 || url[n] != ':')
            continue;
        cleanup(free) struct store *s = calloc(1, sizeof *s);
        if (!s)
            return err_errno("cannot open the store");
        s->driver = store_drivers[i];
        int r = s->driver->open(url + n + 1, &s->state);
        if (r < 0)
            return r;
        *ret = steal(s);
        return 0;
    }
    return err_set(ERR_REFUSED, "this version stores in SQLite only");
}

void store_close(struct store *s) {
    if (!s)
        return;
    s->driver->close(s->state);
    free(s);
}

int store_write(struct store *s, store_body *body, void *arg) {
    return s->driver->write(s->state, body, arg);
}

int store_read(struct store *s, store_body *body, void *arg) {
    return s->driver->read(s->state, body, arg);
}

struct store_counts store_counts(const struct store *s) {
    return s->driver->counts(s->state);
}

int sql_change(struct store_tx *tx, const char *sql, const struct sql_value *values, size_t n) {
    int64_t changed = 0;
    int r = tx->driver->run(tx, sql, values, n, &changed);
    return r < 0 ? r : changed ? 0 : ERR_NOT_FOUND;
}

struct sql_first {
    sql_row_fn *fn;
    void *arg;
    bool found;
};

static int sql_first_row(const struct sql_row *row, void *arg) {
    struct sql_first *first = arg;
    first->found = true;
    int r = first->fn(row, first->arg);
    return r ? r : 1;
}

int sql_one(struct store_tx *tx, const char *what, const char *sql, const struct sql_value *values, size_t n,
            sql_row_fn *fn, void *arg) {
    struct sql_first first = {.fn = fn, .arg = arg};
    int r = sql_each(tx, sql, values, n, sql_first_row, &first);
    if (r < 0)
        return r;
    return first.found ? 0 : err_set(ERR_NOT_FOUND, "no such %s", what);
}

void sql_copy(const struct sql_row *row, size_t column, char *ret, size_t size) {
    const struct sql_value *v = &row->columns[column];
    (void)snprintf(ret, size, "%s", v->type == SQL_TEXT ? v->text : "");
}

char *sql_dup(const struct sql_row *row, size_t column) {
    const struct sql_value *v = &row->columns[column];
    return v->type == SQL_TEXT ? strdup(v->text) : NULL;
}
