#include "server-api/server/store/store_order.h"
#include "platform/base/err.h"
#include "server-api/server/store/sql.h"

#include <stdlib.h>
#include <string.h>

static const char *const order_states[ORDER_STATES] = {
    [ORDER_PENDING] = "pending", [ORDER_DELIVERED] = "delivered", [ORDER_DONE] = "done",
    [ORDER_REFUSED] = "refused", [ORDER_FAILED] = "failed",       [ORDER_SUPERSEDED] = "superseded"};

#define ORDER_SELECT                                                                                         \
    "SELECT id, device, sequence, kind, reason, state, ordered_by, ordered_at, delivered_at, finished_at, "  \
    "text, jws, receipt FROM orders "

struct order_walk {
    store_order_fn *fn;
    void *arg;
};

const char *order_state_name(enum order_state state) {
    return order_states[state];
}

void store_order_finish(struct store_order *order) {
    free(order->jws);
    free(order->receipt);
    *order = (struct store_order){0};
}

static int order_read_state(const struct sql_row *row, size_t column, enum order_state *ret) {
    const struct sql_value *v = &row->columns[column];
    for (size_t i = 0; i < ORDER_STATES; i++)
        if (v->type == SQL_TEXT && strcmp(v->text, order_states[i]) == 0) {
            *ret = (enum order_state)i;
            return 0;
        }
    return err_set(ERR_SYSTEM, "the store holds an order in a state that this version does not know");
}

static int order_row(const struct sql_row *row, void *arg) {
    struct store_order *ret = arg;
    sql_copy(row, 0, ret->id, sizeof ret->id);
    sql_copy(row, 1, ret->device, sizeof ret->device);
    ret->sequence = sql_int(row, 2);
    sql_copy(row, 3, ret->kind, sizeof ret->kind);
    sql_copy(row, 4, ret->reason, sizeof ret->reason);
    sql_copy(row, 6, ret->ordered_by, sizeof ret->ordered_by);
    ret->ordered_at = sql_int(row, 7);
    ret->delivered_at = sql_int(row, 8);
    ret->finished_at = sql_int(row, 9);
    sql_copy(row, 10, ret->text, sizeof ret->text);
    ret->jws = sql_dup(row, 11);
    ret->receipt = sql_dup(row, 12);
    return ret->jws ? order_read_state(row, 5, &ret->state) : err_set(ERR_SYSTEM, "out of memory");
}

static int order_walk_row(const struct sql_row *row, void *arg) {
    const struct order_walk *walk = arg;
    struct store_order order = {0};
    int r = order_row(row, &order);
    if (r == 0)
        r = walk->fn(&order, walk->arg);
    store_order_finish(&order);
    return r;
}

int store_order_add(struct store_tx *tx, const struct store_order *o) {
    return sql_run(
        tx,
        "INSERT INTO orders (id, device, sequence, kind, reason, state, ordered_by, ordered_at, jws) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        SQL_VALUES(sql_text(o->id), sql_text(o->device), sql_number(o->sequence), sql_text(o->kind),
                   sql_text(o->reason), sql_text(order_states[o->state]), sql_text(o->ordered_by),
                   sql_number(o->ordered_at), sql_text(o->jws)));
}

int store_order_get(struct store_tx *tx, const char *id, struct store_order *ret) {
    struct store_order order = {0};
    int r = sql_one(tx, "order", ORDER_SELECT "WHERE id = $1", SQL_VALUES(sql_text(id)), order_row, &order);
    if (r < 0) {
        store_order_finish(&order);
        return r;
    }
    *ret = order;
    return 0;
}

int store_order_update(struct store_tx *tx, const struct store_order *o) {
    return sql_change(tx,
                      "UPDATE orders SET state = $1, delivered_at = $2, finished_at = $3, text = $4, "
                      "receipt = $5 WHERE id = $6",
                      SQL_VALUES(sql_text(order_states[o->state]), sql_time(o->delivered_at),
                                 sql_time(o->finished_at), sql_text(o->text), sql_text(o->receipt),
                                 sql_text(o->id)));
}

int store_order_each_open(struct store_tx *tx, const char *device, store_order_fn *fn, void *arg) {
    struct order_walk walk = {.fn = fn, .arg = arg};
    return sql_each(tx,
                    ORDER_SELECT "WHERE device = $1 AND state IN ('pending', 'delivered') "
                                 "ORDER BY sequence LIMIT $2",
                    SQL_VALUES(sql_text(device), sql_number(ORDERS_PENDING_MAX)), order_walk_row, &walk);
}

int store_order_each(struct store_tx *tx, const char *device, int64_t before, size_t limit,
                     store_order_fn *fn, void *arg) {
    struct order_walk walk = {.fn = fn, .arg = arg};
    return sql_each(
        tx, ORDER_SELECT "WHERE device = $1 AND sequence < $2 ORDER BY sequence DESC LIMIT $3",
        SQL_VALUES(sql_text(device), sql_number(before ? before : INT64_MAX), sql_number((int64_t)limit)),
        order_walk_row, &walk);
}

static int order_count_row(const struct sql_row *row, void *arg) {
    enum order_state state = ORDER_PENDING;
    int r = order_read_state(row, 0, &state);
    if (r == 0)
        ((int64_t *)arg)[state] = sql_int(row, 1);
    return r;
}

int store_order_count(struct store_tx *tx, int64_t ret[ORDER_STATES]) {
    memset(ret, 0, ORDER_STATES * sizeof *ret);
    return sql_each(tx, "SELECT state, count(*) FROM orders GROUP BY state", NULL, 0, order_count_row, ret);
}

int store_receipt_add(struct store_tx *tx, const char *device, const char *id, const char *order,
                      const char *jws, int64_t now) {
    int r = sql_change(
        tx,
        "INSERT INTO receipts (device, id, order_id, jws, received_at) "
        "VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
        SQL_VALUES(sql_text(device), sql_text(id), sql_text(order), sql_text(jws), sql_number(now)));
    return r == ERR_NOT_FOUND ? STORE_EXISTS : r;
}

static int number_row(const struct sql_row *row, void *arg) {
    *(int64_t *)arg = sql_int(row, 0);
    return 0;
}

int store_receipt_count(struct store_tx *tx, const char *device, const char *order, int64_t *ret) {
    return sql_one(tx, "device",
                   "SELECT count(*) FROM receipts WHERE device = $1 AND coalesce(order_id, '') = $2",
                   SQL_VALUES(sql_text(device), sql_text(order ? order : "")), number_row, ret);
}

int store_order_last_done(struct store_tx *tx, const char *device, int64_t *ret) {
    return sql_one(tx, "device",
                   "SELECT coalesce(max(sequence), 0) FROM orders WHERE device = $1 AND state = 'done'",
                   SQL_VALUES(sql_text(device)), number_row, ret);
}

struct receipt_walk {
    store_receipt_fn *fn;
    void *arg;
};

static int receipt_walk_row(const struct sql_row *row, void *arg) {
    const struct receipt_walk *walk = arg;
    struct store_receipt receipt = {.received_at = sql_int(row, 2), .jws = row->columns[3].text};
    sql_copy(row, 0, receipt.id, sizeof receipt.id);
    sql_copy(row, 1, receipt.order, sizeof receipt.order);
    return walk->fn(&receipt, walk->arg);
}

int store_receipt_each(struct store_tx *tx, const char *device, size_t limit, store_receipt_fn *fn,
                       void *arg) {
    struct receipt_walk walk = {.fn = fn, .arg = arg};
    return sql_each(tx,
                    "SELECT id, order_id, received_at, jws FROM receipts WHERE device = $1 "
                    "ORDER BY received_at DESC, id LIMIT $2",
                    SQL_VALUES(sql_text(device), sql_number((int64_t)limit)), receipt_walk_row, &walk);
}
