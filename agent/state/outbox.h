/*
 * The outbox: what the device still has to tell the server beside its report: that an order arrived or was
 * refused, and the receipt. Filled by the worker, emptied by the channel's delivery thread. The receipt also
 * lies in receipt.json in the state directory until it is acknowledged; word of orders may be lost in a
 * crash, since the server names the order again.
 */
#ifndef SATCHEL_STATE_OUTBOX_H
#define SATCHEL_STATE_OUTBOX_H

#include <cjson/cJSON.h>
#include <pthread.h>
#include <stdbool.h>

struct outbox {
    pthread_mutex_t lock;
    int notify;        /* eventfd of the delivery thread; set before threads start */
    cJSON *orders;     /* owned: [{"id","state","text"}] */
    cJSON *receipt;    /* owned: a JWS, or NULL */
    bool receipt_last; /* its acknowledgement ends the enrollment */
};

int outbox_init(struct outbox *o);

/* Word of an order: "delivered", or "refused" with the reason. At most 64 are kept. */
void outbox_order(struct outbox *o, const char *id, const char *state, const char *text);

/* Takes over the receipt, in place of an earlier one. NULL: there is none any more. */
void outbox_receipt(struct outbox *o, cJSON *receipt, bool last);

/* The orders to tell (the caller's, never NULL) and a copy of the receipt (or NULL). Orders are taken out;
 * the receipt stays until outbox_receipt(). */
int outbox_take(struct outbox *o, cJSON **ret_orders, cJSON **ret_receipt, bool *ret_last);

/* Puts orders back that could not be told. Takes them over. */
void outbox_return(struct outbox *o, cJSON *orders);

#endif
