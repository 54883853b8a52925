/*
 * The outbox: what the device still has to tell the server beside its report: that an order arrived or was
 * refused, the receipt, and a request for a further certificate. Filled by the worker, emptied by the
 * channel's delivery thread. The receipt of a wipe also lies in receipt.json in the state directory until it
 * is acknowledged, that of a lock is signed anew; word of orders may be lost in a crash, since the server
 * names the order again.
 */
#ifndef SATCHEL_STATE_OUTBOX_H
#define SATCHEL_STATE_OUTBOX_H

#include <cjson/cJSON.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct outbox_receipt {
    cJSON *jws;      /* owned; NULL: there is none */
    char order[65];  /* that it is of; "": of none */
    bool last;       /* its acknowledgement ends the enrollment */
    uint64_t number; /* tells it from the ones before and after */
};

struct outbox {
    pthread_mutex_t lock;
    int notify;    /* eventfd of the delivery thread; set before threads start */
    cJSON *orders; /* owned: [{"id","state","text"}] */
    struct outbox_receipt receipt;
    char *csr; /* owned: for a further certificate, or NULL */
};

int outbox_init(struct outbox *o);

/* Word of an order: "delivered", or "refused" with the reason. At most 64 are kept. */
void outbox_order(struct outbox *o, const char *id, const char *state, const char *text);

/* Takes over the receipt, in place of an earlier one. `order` NULL: it is of none. */
void outbox_receipt(struct outbox *o, cJSON *jws, const char *order, bool last);

/* The orders to tell (the caller's, never NULL) and a copy of the receipt. Orders are taken out; the receipt
 * stays until outbox_delivered(). */
int outbox_take(struct outbox *o, cJSON **ret_orders, struct outbox_receipt *ret_receipt);

/* The receipt of this number is delivered. One that took its place meanwhile stays. */
void outbox_delivered(struct outbox *o, uint64_t number);

/* A request for a further certificate: takes over the PEM, NULL for none any more. */
void outbox_csr(struct outbox *o, char *pem);

/* A copy of the request, or NULL. The caller's. */
char *outbox_get_csr(struct outbox *o);

/* Puts orders back that could not be told. Takes them over. */
void outbox_return(struct outbox *o, cJSON *orders);

#endif
