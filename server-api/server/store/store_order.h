/*
 * Orders and receipts, as they were signed. For domain/orders.c.
 */
#ifndef SATCHEL_SERVER_STORE_ORDER_H
#define SATCHEL_SERVER_STORE_ORDER_H

#include "server-api/contract/order.h"
#include "server-api/server/store/store_profile.h"

#define ORDER_TEXT_MAX 500

/* ORDER_SUPERSEDED: another order was given before the device was through with this one. */
enum order_state {
    ORDER_PENDING,
    ORDER_DELIVERED,
    ORDER_DONE,
    ORDER_REFUSED,
    ORDER_FAILED,
    ORDER_SUPERSEDED,
    ORDER_STATES
};

const char *order_state_name(enum order_state state);

/* Pending and delivered are open; the others are terminal. */
static inline int order_state_open(enum order_state state) {
    return state == ORDER_PENDING || state == ORDER_DELIVERED;
}

struct store_order {
    char id[STORE_ID_SIZE];
    char device[STORE_ID_SIZE];
    int64_t sequence;
    char kind[16];
    char reason[ORDER_REASON_MAX + 1];
    enum order_state state;
    char ordered_by[STORE_ACTOR_SIZE];
    int64_t ordered_at, delivered_at, finished_at; /* 0: not yet */
    char text[ORDER_TEXT_MAX + 1];                 /* why it was refused or failed, from the device */
    char *jws;                                     /* owned */
    char *receipt;                                 /* owned; NULL until there is one */
};

void store_order_finish(struct store_order *order);
#define store_order_cleanup store_order_finish

int store_order_add(struct store_tx *tx, const struct store_order *order);

/* ERR_NOT_FOUND. *ret is finished by store_order_finish(). */
int store_order_get(struct store_tx *tx, const char *id, struct store_order *ret);

/* Writes state, delivered_at, finished_at, text and receipt. */
int store_order_update(struct store_tx *tx, const struct store_order *order);

typedef int store_order_fn(const struct store_order *order, void *arg);

/* The open orders of a device, oldest first, ORDERS_PENDING_MAX at most. */
int store_order_each_open(struct store_tx *tx, const char *device, store_order_fn *fn, void *arg);

/* Up to `limit` orders of a device with a sequence below `before` (0: from the newest), newest first. */
int store_order_each(struct store_tx *tx, const char *device, int64_t before, size_t limit,
                     store_order_fn *fn, void *arg);

/* The highest sequence of an order of the device that is done; 0: none is. */
int store_order_last_done(struct store_tx *tx, const char *device, int64_t *ret);

/* How many orders are in each state. */
int store_order_count(struct store_tx *tx, int64_t ret[ORDER_STATES]);

/* Keeps a receipt once: of the same device and id, the first stays. `order` NULL: of no order.
 * 0 or STORE_EXISTS. */
int store_receipt_add(struct store_tx *tx, const char *device, const char *id, const char *order,
                      const char *jws, int64_t now);

struct store_receipt {
    char id[STORE_ID_SIZE];
    char order[STORE_ID_SIZE]; /* "": of none */
    int64_t received_at;
    const char *jws; /* borrowed, while the function runs */
};

typedef int store_receipt_fn(const struct store_receipt *receipt, void *arg);

/* The receipts of a device, newest first, `limit` at most. */
int store_receipt_each(struct store_tx *tx, const char *device, size_t limit, store_receipt_fn *fn,
                       void *arg);

/* How many receipts of this order of the device are kept; `order` NULL: of those that belong to none. */
int store_receipt_count(struct store_tx *tx, const char *device, const char *order, int64_t *ret);

#endif
