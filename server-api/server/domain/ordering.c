#include "server-api/server/domain/ordering.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/encode.h"
#include "platform/base/err.h"
#include "platform/base/json.h"
#include "server-api/contract/evidence.h"
#include "server-api/contract/jws.h"
#include "server-api/contract/receipt.h"
#include "server-api/server/domain/audit.h"
#include "server-api/server/domain/text.h"

#include <stdio.h>
#include <string.h>

struct giving {
    struct organization *organization;
    const char *actor, *device, *reason;
    enum order_kind kind;
    char open[STORE_ID_SIZE], open_kind[16];
    struct ordering_given given; /* the result */
};

static int giving_note_open(const struct store_order *order, void *arg) {
    struct giving *g = arg;
    (void)snprintf(g->open, sizeof g->open, "%s", order->id);
    (void)snprintf(g->open_kind, sizeof g->open_kind, "%s", order->kind);
    return 0;
}

/* The row of a new order, with its document. */
static int giving_row(struct giving *g, const struct order *order, struct store_order *row) {
    row->sequence = order->sequence;
    row->state = ORDER_PENDING;
    row->ordered_at = order->ordered_at;
    (void)snprintf(row->id, sizeof row->id, "%s", order->id);
    (void)snprintf(row->device, sizeof row->device, "%s", g->device);
    (void)snprintf(row->kind, sizeof row->kind, "%s", order_kind_name(order->kind));
    (void)snprintf(row->reason, sizeof row->reason, "%s", g->reason);
    (void)snprintf(row->ordered_by, sizeof row->ordered_by, "%s", g->actor);
    cleanup(cJSON) cJSON *payload = order_make(order);
    row->jws = payload ? organization_sign(g->organization, payload, JWS_TYPE_ORDER) : NULL;
    return row->jws ? 0 : err_set(ERR_SYSTEM, "cannot sign the order");
}

/* Numbers, signs and adds the order: in the transaction, since the signature covers the number. */
static int giving_add(struct store_tx *tx, struct giving *g) {
    struct order order = {.kind = g->kind, .ordered_at = clock_real_ms()};
    (void)random_id(order.id);
    (void)snprintf(order.device, sizeof order.device, "%s", g->device);
    (void)snprintf(order.reason, sizeof order.reason, "%s", g->reason);
    int r = store_device_next_sequence(tx, g->device, &order.sequence);
    if (r == 0)
        r = giving_row(g, &order, &g->given.order);
    if (r == 0)
        r = store_order_add(tx, &g->given.order);
    if (r == 0 && g->kind == ORDER_WIPE)
        r = store_device_set_state(tx, g->device, DEVICE_WIPING);
    char action[32];
    (void)snprintf(action, sizeof action, "%s.ordered", order_kind_name(g->kind));
    return r < 0 ? r : audit_add(tx, g->actor, action, g->device, audit_detail("order", order.id));
}

/* What was ordered before and is not done is not wanted any more. */
static int giving_supersede(struct store_tx *tx, struct giving *g) {
    cleanup(store_order) struct store_order old = {0};
    int r = store_order_get(tx, g->open, &old);
    if (r < 0)
        return r;
    old.state = ORDER_SUPERSEDED;
    old.finished_at = g->given.order.ordered_at;
    (void)snprintf(old.text, sizeof old.text, "order %s took its place", g->given.order.id);
    (void)snprintf(g->given.superseded, sizeof g->given.superseded, "%s", g->open);
    r = store_order_update(tx, &old);
    return r < 0 ? r
                 : audit_add(tx, g->actor, "order.superseded", old.id, audit_detail("by", g->given.order.id));
}

static int giving_body(struct store_tx *tx, void *arg) {
    struct giving *g = arg;
    cleanup(store_device) struct store_device device = {0};
    int r = store_device_get(tx, g->device, &device);
    if (r < 0)
        return r;
    if (device.state == DEVICE_DELETED)
        return err_set(ERR_NOT_FOUND, "no such device");
    if (device.state == DEVICE_WIPED || device.state == DEVICE_LEFT)
        return err_set(ERR_WRONG_STATE, "the device is %s already", device_state_name(device.state));
    if (device.state == DEVICE_WIPING && g->kind != ORDER_WIPE)
        return err_set(ERR_WRONG_STATE, "the device is being wiped; nothing else can be ordered");
    r = store_order_each_open(tx, g->device, giving_note_open, g);
    if (r < 0)
        return r;
    g->given.again = strcmp(g->open_kind, order_kind_name(g->kind)) == 0;
    if (!g->given.again) {
        r = giving_add(tx, g);
        return r == 0 && g->open[0] ? giving_supersede(tx, g) : r;
    }
    char action[32];
    (void)snprintf(action, sizeof action, "%s.ordered-again", g->open_kind);
    r = store_order_get(tx, g->open, &g->given.order);
    return r < 0 ? r : audit_add(tx, g->actor, action, g->device, audit_detail("order", g->open));
}

int ordering_give(struct store *s, struct organization *o, const char *actor, const char *device,
                  enum order_kind kind, const char *reason, struct ordering_given *ret) {
    int r = text_check("reason", reason, ORDER_REASON_MAX);
    if (r < 0)
        return r;
    struct giving g = {.organization = o, .actor = actor, .device = device, .kind = kind, .reason = reason};
    r = store_write(s, giving_body, &g);
    if (r < 0) {
        store_order_finish(&g.given.order);
        return r;
    }
    *ret = g.given;
    return 0;
}

struct order_lookup {
    const char *id;
    struct store_order *order;
    const cJSON *receipt; /* the JWS */
    struct buf *certificate;
};

static int order_lookup_certificate(const char *pem, void *arg) {
    struct order_lookup *l = arg;
    cleanup(X509) X509 *cert = cert_from_pem(pem, strlen(pem));
    EVP_PKEY *key = cert ? X509_get0_pubkey(cert) : NULL;
    cleanup(cJSON) cJSON *payload = NULL;
    enum receipt_result result;
    if (l->certificate->len || !key || receipt_open(l->receipt, key, l->order->device, &result, &payload) < 0)
        return 0;
    return buf_add_str(l->certificate, pem);
}

static int order_lookup_body(struct store_tx *tx, void *arg) {
    struct order_lookup *l = arg;
    cleanup(cJSON) cJSON *receipt = NULL;
    int r = store_order_get(tx, l->id, l->order);
    if (r < 0 || !l->order->receipt)
        return r;
    r = json_parse(l->order->receipt, strlen(l->order->receipt), &receipt);
    l->receipt = receipt;
    if (r == 0)
        r = store_certificate_each(tx, l->order->device, order_lookup_certificate, l);
    l->receipt = NULL;
    return r;
}

int ordering_get(struct store *s, const char *id, struct store_order *ret, struct buf *ret_certificate) {
    struct store_order order = {0};
    struct order_lookup lookup = {.id = id, .order = &order, .certificate = ret_certificate};
    int r = store_read(s, order_lookup_body, &lookup);
    if (r < 0) {
        store_order_finish(&order);
        return r;
    }
    *ret = order;
    return 0;
}

struct receipt_list {
    const char *device;
    cJSON *list; /* owned */
};

static int receipt_list_add(const struct store_receipt *r, void *arg) {
    struct receipt_list *l = arg;
    char at[CLOCK_RFC3339_SIZE];
    cleanup(cJSON) cJSON *jws = NULL, *payload = NULL, *item = NULL;
    if (!r->jws || json_parse(r->jws, strlen(r->jws), &jws) < 0 || jws_peek(jws, &payload) < 0)
        return err_set(ERR_SYSTEM, "a stored receipt is damaged");
    item = evidence_make(jws, NULL, r->order[0] ? r->order : NULL, l->device);
    const char *kind = json_str(payload, "kind");
    if (!item || json_add_str(item, "id", r->id) < 0 ||
        json_add_str(item, "kind", kind ? kind : order_kind_name(ORDER_WIPE)) < 0 ||
        json_add_str(item, "cause", json_str(payload, "cause")) < 0 ||
        json_add_str(item, "result", json_str(payload, "result")) < 0 ||
        json_add_str(item, "received_at", clock_rfc3339(r->received_at, at)) < 0 ||
        !cJSON_AddItemToArray(l->list, item))
        return err_set(ERR_SYSTEM, "out of memory");
    (void)steal(item);
    return 0;
}

/* Each receipt gets the certificate whose key signed it. */
static int receipt_list_certificate(const char *pem, void *arg) {
    const struct receipt_list *l = arg;
    cleanup(X509) X509 *cert = cert_from_pem(pem, strlen(pem));
    EVP_PKEY *key = cert ? X509_get0_pubkey(cert) : NULL;
    cJSON *item;
    cJSON_ArrayForEach(item, l->list) {
        cleanup(cJSON) cJSON *payload = NULL;
        enum receipt_result result;
        if (key && !json_str(item, "certificate") &&
            receipt_open(json_object(item, "receipt"), key, l->device, &result, &payload) == 0 &&
            json_set_str(item, "certificate", pem) < 0)
            return err_set(ERR_SYSTEM, "out of memory");
    }
    return 0;
}

static int receipt_list_body(struct store_tx *tx, void *arg) {
    struct receipt_list *l = arg;
    cleanup(store_device) struct store_device device = {0};
    int r = store_device_get(tx, l->device, &device);
    if (r == 0)
        r = store_receipt_each(tx, l->device, RECEIPTS_LISTED_MAX, receipt_list_add, l);
    return r < 0 ? r : store_certificate_each(tx, l->device, receipt_list_certificate, l);
}

int ordering_receipts(struct store *s, const char *device, cJSON **ret) {
    struct receipt_list l = {.device = device, .list = cJSON_CreateArray()};
    int r = l.list ? store_read(s, receipt_list_body, &l) : err_set(ERR_SYSTEM, "out of memory");
    if (r < 0) {
        cJSON_Delete(l.list);
        return r;
    }
    *ret = l.list;
    return 0;
}

static int ordering_audit(struct store_tx *tx, const struct store_order *order) {
    char actor[STORE_ACTOR_SIZE], action[32];
    (void)snprintf(actor, sizeof actor, "device:%s", order->device);
    (void)snprintf(action, sizeof action, "order.%s", order_state_name(order->state));
    return audit_add(tx, actor, action, order->id, order->text[0] ? audit_detail("text", order->text) : NULL);
}

int ordering_reported(struct store_tx *tx, const char *device, const char *id, const char *state,
                      const char *text, bool *ret_changed) {
    cleanup(store_order) struct store_order order = {0};
    *ret_changed = false;
    int r = store_order_get(tx, id, &order);
    if (r < 0)
        return r == ERR_NOT_FOUND ? 0 : r;
    bool delivered = strcmp(state, "delivered") == 0;
    if (strcmp(order.device, device) != 0 || !order_state_open(order.state) ||
        (delivered && order.state == ORDER_DELIVERED))
        return 0;
    int64_t now = clock_real_ms();
    order.delivered_at = order.delivered_at ? order.delivered_at : now;
    order.state = delivered ? ORDER_DELIVERED : ORDER_REFUSED;
    if (!delivered) {
        order.finished_at = now;
        (void)snprintf(order.text, sizeof order.text, "%s", text);
    }
    r = store_order_update(tx, &order);
    if (r < 0)
        return r;
    *ret_changed = true;
    return ordering_audit(tx, &order);
}

struct receiving {
    const char *device;
    const char *text; /* the JWS */
    const cJSON *jws;
    enum receipt_result result;
    cJSON *payload; /* owned */
    const char *id, *order, *kind, *cause;
    char closed[STORE_ID_SIZE]; /* an open order that a leave ended; "" without one */
    int64_t now;
};

/* What the device has signed is now so, unless it did something later and said so already. */
static int receiving_set_device(struct store_tx *tx, const struct receiving *v,
                                const struct store_order *order) {
    cleanup(store_device) struct store_device device = {0};
    int64_t last = 0;
    if (strcmp(order->kind, order_kind_name(ORDER_WIPE)) == 0) {
        int r = store_device_set_state(tx, v->device, DEVICE_WIPED);
        return r < 0 ? r : store_certificate_revoke_all(tx, v->device, v->now);
    }
    int r = store_device_get(tx, v->device, &device);
    if (r == 0)
        r = store_order_last_done(tx, v->device, &last);
    if (r < 0 || !device_state_managed(device.state) || last != order->sequence)
        return r;
    bool lock = strcmp(order->kind, order_kind_name(ORDER_LOCK)) == 0;
    return store_device_set_state(tx, v->device, lock ? DEVICE_LOCKED : DEVICE_ENROLLED);
}

static int receiving_apply_order(struct store_tx *tx, const struct receiving *v, struct store_order *order) {
    static const enum order_state states[] = {
        [RECEIPT_DONE] = ORDER_DONE, [RECEIPT_FAILED] = ORDER_FAILED, [RECEIPT_REFUSED] = ORDER_REFUSED};
    bool corrected =
        (order->state == ORDER_FAILED || order->state == ORDER_SUPERSEDED) && v->result == RECEIPT_DONE;
    if (!order_state_open(order->state) && !corrected)
        return 0; /* kept as a document, but what is terminal stays */
    const char *reason = v->result == RECEIPT_DONE ? NULL : json_str(v->payload, "reason");
    bool usable = reason && text_check("reason", reason, ORDER_TEXT_MAX) == 0;
    order->state = states[v->result];
    order->delivered_at = order->delivered_at ? order->delivered_at : v->now;
    order->finished_at = v->now;
    (void)snprintf(order->text, sizeof order->text, "%s", usable ? reason : "");
    free(order->receipt);
    order->receipt = strdup(v->text);
    if (!order->receipt)
        return err_errno("cannot keep the receipt");
    int r = store_order_update(tx, order);
    if (r == 0 && order->state == ORDER_DONE)
        r = receiving_set_device(tx, v, order);
    return r < 0 ? r : ordering_audit(tx, order);
}

static int receiving_note_open(const struct store_order *order, void *arg) {
    struct receiving *v = arg;
    (void)snprintf(v->closed, sizeof v->closed, "%s", order->id);
    return 0;
}

/* An order that crossed the employee's own wipe: what a wipe demands is done, and the device has signed that
 * it is; a lock or unlock has nothing to be done to any more. */
static int receiving_close_order(struct store_tx *tx, struct receiving *v) {
    cleanup(store_order) struct store_order order = {0};
    int r = store_order_each_open(tx, v->device, receiving_note_open, v);
    if (r < 0 || !v->closed[0])
        return r < 0 ? r : 0;
    r = store_order_get(tx, v->closed, &order);
    if (r < 0 || strcmp(order.kind, order_kind_name(ORDER_WIPE)) == 0)
        return r < 0 ? r : receiving_apply_order(tx, v, &order);
    order.state = ORDER_SUPERSEDED;
    order.finished_at = v->now;
    (void)snprintf(order.text, sizeof order.text, "the mail is off the device");
    r = store_order_update(tx, &order);
    return r < 0 ? r : ordering_audit(tx, &order);
}

/* A wipe that nobody ordered: the employee's own, or for want of contact. A failed one is kept and told, but
 * the device has not left. */
static int receiving_apply_leave(struct store_tx *tx, struct receiving *v) {
    char actor[STORE_ACTOR_SIZE];
    (void)snprintf(actor, sizeof actor, "device:%s", v->device);
    int r = 0;
    bool offline = strcmp(v->cause, "offline") == 0;
    if (v->result == RECEIPT_DONE) {
        cleanup(store_device) struct store_device device = {0};
        r = store_device_get(tx, v->device, &device);
        if (r == 0 && device.state != DEVICE_WIPED)
            r = store_device_set_state(tx, v->device, offline ? DEVICE_WIPED : DEVICE_LEFT);
        if (r == 0)
            r = store_certificate_revoke_all(tx, v->device, v->now);
        if (r == 0)
            r = receiving_close_order(tx, v);
    }
    const char *action = v->result != RECEIPT_DONE ? "device.leave-failed"
                         : offline                 ? "device.wiped-offline"
                                                   : "device.left";
    return r < 0 ? r : audit_add(tx, actor, action, v->device, audit_detail("receipt", v->id));
}

static int receiving_body(struct store_tx *tx, void *arg) {
    struct receiving *v = arg;
    cleanup(store_order) struct store_order order = {0};
    int64_t kept = 0;
    int r = v->order ? store_order_get(tx, v->order, &order) : 0;
    if (r < 0 && r != ERR_NOT_FOUND)
        return r;
    if (v->order && (r == ERR_NOT_FOUND || strcmp(order.device, v->device) != 0))
        return err_set(ERR_NOT_FOUND, "the receipt names no order of this device");
    if (v->order && strcmp(order.kind, v->kind) != 0)
        return err_set(ERR_INVALID, "the receipt is of a %s, the order is a %s", v->kind, order.kind);
    r = store_receipt_add(tx, v->device, v->id, v->order, v->text, v->now);
    if (r == STORE_EXISTS)
        return 0;
    if (r == 0)
        r = store_receipt_count(tx, v->device, v->order, &kept);
    if (r < 0)
        return r;
    /* Many tries may have failed before: the one that succeeds is always heard. */
    if (kept > RECEIPTS_OF_ORDER_MAX + (v->result == RECEIPT_DONE ? RECEIPTS_DONE_MORE : 0))
        return err_set(ERR_TOO_LARGE, "more than %d receipts of one order", RECEIPTS_OF_ORDER_MAX);
    return v->order ? receiving_apply_order(tx, v, &order) : receiving_apply_leave(tx, v);
}

static int receiving_try(const char *pem, void *arg) {
    struct receiving *v = arg;
    cleanup(X509) X509 *cert = cert_from_pem(pem, strlen(pem));
    EVP_PKEY *key = cert ? X509_get0_pubkey(cert) : NULL;
    return key && receipt_open(v->jws, key, v->device, &v->result, &v->payload) == 0 ? 1 : 0;
}

static int receiving_find_key(struct store_tx *tx, void *arg) {
    struct receiving *v = arg;
    return store_certificate_each(tx, v->device, receiving_try, v);
}

static int receiving_read(struct receiving *v) {
    const cJSON *order = cJSON_GetObjectItemCaseSensitive(v->payload, "order");
    const char *cause = json_str(v->payload, "cause"), *kind = json_str(v->payload, "kind");
    v->kind = kind ? kind : order_kind_name(ORDER_WIPE); /* the one kind that there was at first */
    v->id = json_str(v->payload, "id");
    v->order = cJSON_IsString(order) ? order->valuestring : NULL;
    v->cause = cause ? cause : "";
    bool expected = v->order ? strcmp(v->cause, "order") == 0
                             : strcmp(v->cause, "leave") == 0 || strcmp(v->cause, "offline") == 0;
    if (text_check("id", v->id, STORE_ID_SIZE - 1) < 0 ||
        (v->order && text_check("order", v->order, STORE_ID_SIZE - 1) < 0) || !expected)
        return err_set(ERR_INVALID, "the receipt does not say what it is for");
    return 0;
}

int ordering_receive(struct store *s, const char *device, X509 *cert, const cJSON *jws,
                     struct ordering_receipt *ret) {
    cleanup(free) char *text = json_print(jws);
    if (!text)
        return err_set(ERR_SYSTEM, "out of memory");
    struct receiving v = {.device = device, .text = text, .jws = jws, .now = clock_real_ms()};
    EVP_PKEY *key = X509_get0_pubkey(cert);
    int r = key ? receipt_open(jws, key, device, &v.result, &v.payload)
                : err_set(ERR_SIGNATURE, "the certificate has no usable key");
    if (r == ERR_SIGNATURE) {
        int found = store_read(s, receiving_find_key, &v);
        r = found < 0 ? found
            : found   ? 0
                      : err_set(ERR_SIGNATURE, "the receipt is not signed by a key of this device");
    }
    if (r == 0)
        r = receiving_read(&v);
    if (r == 0)
        r = store_write(s, receiving_body, &v);
    if (r == 0) {
        (void)snprintf(ret->id, sizeof ret->id, "%s", v.id);
        (void)snprintf(ret->order, sizeof ret->order, "%s", v.order ? v.order : v.closed);
    }
    cJSON_Delete(v.payload);
    return r;
}
