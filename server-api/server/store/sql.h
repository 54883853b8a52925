/*
 * What the store's tables need of a database: statements with typed values in, rows of typed values out. A
 * driver is a const struct of functions (`struct store_driver`); the table files (store_user.c, ...) are
 * written once, in the SQL that the drivers share: parameters are $1, $2, ... and appear first in that order.
 * Statements are literals: nothing that came from outside is ever part of one.
 */
#ifndef SATCHEL_SERVER_STORE_SQL_H
#define SATCHEL_SERVER_STORE_SQL_H

#include "server-api/server/store/store.h"

#include <stddef.h>
#include <stdint.h>

#define SQL_COLUMNS_MAX 16

enum sql_type { SQL_NULL, SQL_TEXT, SQL_NUMBER };

struct sql_value {
    enum sql_type type;
    const char *text; /* borrowed: for the call, or for the row's callback */
    int64_t number;
};

struct sql_row {
    size_t n;
    struct sql_value columns[SQL_COLUMNS_MAX];
};

/* Anything but 0 ends the walk and is handed on. */
typedef int sql_row_fn(const struct sql_row *row, void *arg);

struct store_driver {
    const char *scheme; /* "sqlite" */
    /* All required. `where` is what stands behind the scheme. */
    int (*open)(const char *where, void **ret);
    void (*close)(void *state);
    int (*write)(void *state, store_body *body, void *arg);
    int (*read)(void *state, store_body *body, void *arg);
    struct store_counts (*counts)(void *state);
    int (*run)(struct store_tx *tx, const char *sql, const struct sql_value *values, size_t n,
               int64_t *ret_changed);
    int (*each)(struct store_tx *tx, const char *sql, const struct sql_value *values, size_t n,
                sql_row_fn *fn, void *arg);
};

extern const struct store_driver store_driver_sqlite;

/* Begins every driver's own transaction. */
struct store_tx {
    const struct store_driver *driver;
};

static inline struct sql_value sql_text(const char *text) {
    return (struct sql_value){.type = text ? SQL_TEXT : SQL_NULL, .text = text};
}

static inline struct sql_value sql_number(int64_t number) {
    return (struct sql_value){.type = SQL_NUMBER, .number = number};
}

/* 0 is "never" and stored as NULL. */
static inline struct sql_value sql_time(int64_t ms) {
    return (struct sql_value){.type = ms ? SQL_NUMBER : SQL_NULL, .number = ms};
}

#define SQL_VALUES(...)                                                                                      \
    ((const struct sql_value[]){__VA_ARGS__}),                                                               \
        (sizeof((const struct sql_value[]){__VA_ARGS__}) / sizeof(struct sql_value))

static inline int sql_run(struct store_tx *tx, const char *sql, const struct sql_value *values, size_t n) {
    int64_t changed;
    return tx->driver->run(tx, sql, values, n, &changed);
}

/* ERR_NOT_FOUND, without a text, when no row was changed. */
int sql_change(struct store_tx *tx, const char *sql, const struct sql_value *values, size_t n);

static inline int sql_each(struct store_tx *tx, const char *sql, const struct sql_value *values, size_t n,
                           sql_row_fn *fn, void *arg) {
    return tx->driver->each(tx, sql, values, n, fn, arg);
}

/* The first row alone; ERR_NOT_FOUND with "no such <what>". */
int sql_one(struct store_tx *tx, const char *what, const char *sql, const struct sql_value *values, size_t n,
            sql_row_fn *fn, void *arg);

/* The column's text cut to `size` bytes with its NUL; "" for NULL. */
void sql_copy(const struct sql_row *row, size_t column, char *ret, size_t size);

/* A copy of the column's text, owned by the caller; NULL for NULL (or without memory). */
char *sql_dup(const struct sql_row *row, size_t column);

static inline int64_t sql_int(const struct sql_row *row, size_t column) {
    return row->columns[column].type == SQL_NUMBER ? row->columns[column].number : 0;
}

#endif
