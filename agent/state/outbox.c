#include "agent/state/outbox.h"
#include "platform/base/err.h"
#include "platform/base/json.h"
#include "platform/base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OUTBOX_ORDERS_MAX 64

int outbox_init(struct outbox *o) {
    *o = (struct outbox){.lock = PTHREAD_MUTEX_INITIALIZER, .notify = -1, .orders = cJSON_CreateArray()};
    return o->orders ? 0 : err_set(ERR_SYSTEM, "out of memory");
}

static void outbox_tell(const struct outbox *o) {
    if (o->notify >= 0)
        (void)!write(o->notify, &(uint64_t){1}, sizeof(uint64_t));
}

void outbox_order(struct outbox *o, const char *id, const char *state, const char *text) {
    cleanup(cJSON) cJSON *item = cJSON_CreateObject();
    if (json_add_str(item, "id", id) < 0 || json_add_str(item, "state", state) < 0 ||
        json_add_str(item, "text", text) < 0) {
        log_warning("cannot tell the server about an order: %s, ignoring", err_text());
        return;
    }
    (void)pthread_mutex_lock(&o->lock);
    if (cJSON_GetArraySize(o->orders) < OUTBOX_ORDERS_MAX && cJSON_AddItemToArray(o->orders, item))
        (void)steal(item);
    (void)pthread_mutex_unlock(&o->lock);
    outbox_tell(o);
}

void outbox_receipt(struct outbox *o, cJSON *jws, const char *order, bool last) {
    (void)pthread_mutex_lock(&o->lock);
    cJSON_Delete(o->receipt.jws);
    o->receipt = (struct outbox_receipt){.jws = jws, .last = last, .number = o->receipt.number + 1};
    (void)snprintf(o->receipt.order, sizeof o->receipt.order, "%s", order ? order : "");
    (void)pthread_mutex_unlock(&o->lock);
    outbox_tell(o);
}

int outbox_take(struct outbox *o, cJSON **ret_orders, struct outbox_receipt *ret_receipt) {
    cJSON *fresh = cJSON_CreateArray();
    if (!fresh)
        return err_set(ERR_SYSTEM, "out of memory");
    (void)pthread_mutex_lock(&o->lock);
    *ret_orders = o->orders;
    o->orders = fresh;
    *ret_receipt = o->receipt;
    ret_receipt->jws = o->receipt.jws ? cJSON_Duplicate(o->receipt.jws, true) : NULL;
    (void)pthread_mutex_unlock(&o->lock);
    return 0;
}

void outbox_delivered(struct outbox *o, uint64_t number) {
    (void)pthread_mutex_lock(&o->lock);
    if (o->receipt.number == number) {
        cJSON_Delete(o->receipt.jws);
        o->receipt.jws = NULL;
    }
    (void)pthread_mutex_unlock(&o->lock);
}

void outbox_csr(struct outbox *o, char *pem) {
    (void)pthread_mutex_lock(&o->lock);
    free(o->csr);
    o->csr = pem;
    (void)pthread_mutex_unlock(&o->lock);
    if (pem)
        outbox_tell(o);
}

char *outbox_get_csr(struct outbox *o) {
    (void)pthread_mutex_lock(&o->lock);
    char *copy = o->csr ? strdup(o->csr) : NULL;
    (void)pthread_mutex_unlock(&o->lock);
    return copy;
}

void outbox_return(struct outbox *o, cJSON *orders) {
    (void)pthread_mutex_lock(&o->lock);
    while (orders->child && cJSON_GetArraySize(o->orders) < OUTBOX_ORDERS_MAX)
        (void)cJSON_AddItemToArray(o->orders, cJSON_DetachItemFromArray(orders, 0));
    (void)pthread_mutex_unlock(&o->lock);
    cJSON_Delete(orders);
}
