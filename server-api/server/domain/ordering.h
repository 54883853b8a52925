/*
 * Orders: given by an admin, delivered when the device says so, finished by a receipt that the device signed.
 *
 *   pending -> delivered -> done | failed | refused        failed -> done, by a later receipt
 *                        -> superseded                     superseded -> done, when the device was faster
 *
 * "done" comes from a verified receipt and from nothing else. At most one order of a device is open: another
 * kind of order takes its place, except that nothing takes the place of a wipe.
 */
#ifndef SATCHEL_SERVER_DOMAIN_ORDERING_H
#define SATCHEL_SERVER_DOMAIN_ORDERING_H

#include "server-api/server/domain/organization.h"
#include "server-api/server/store/store_device.h"
#include "server-api/server/store/store_order.h"

#define RECEIPTS_OF_ORDER_MAX 64
#define RECEIPTS_DONE_MORE 16 /* beyond these, for results that end something */

struct ordering_given {
    struct store_order order;       /* finished by store_order_finish() */
    bool again;                     /* it was open already, and is the one from then */
    char superseded[STORE_ID_SIZE]; /* the open order whose place it took; "": none */
};

/*
 * Gives an order; durable when it returns. ERR_NOT_FOUND, ERR_INVALID for the reason, ERR_WRONG_STATE for a
 * device that is wiped or left, and for a lock or unlock of one that is being wiped.
 */
int ordering_give(struct store *s, struct organization *o, const char *actor, const char *device,
                  enum order_kind kind, const char *reason, struct ordering_given *ret);

/* The order, and the certificate (PEM, appended) whose key signed its receipt, where it has one.
 * ERR_NOT_FOUND. */
int ordering_get(struct store *s, const char *id, struct store_order *ret, struct buf *ret_certificate);

/*
 * The receipts of a device, newest first, as
 * {"id","device","order","kind","cause","result","received_at","receipt", "certificate"}: each is evidence
 * (server-api/contract/evidence.h). *ret is the caller's. ERR_NOT_FOUND.
 */
#define RECEIPTS_LISTED_MAX 100
int ordering_receipts(struct store *s, const char *device, cJSON **ret);

/* What a device's report says of one order, in the report's transaction. `state`: "delivered" or "refused".
 * An order that is not this device's, or a step that is not allowed, is passed over. *ret_changed. */
int ordering_reported(struct store_tx *tx, const char *device, const char *id, const char *state,
                      const char *text, bool *ret_changed);

struct ordering_receipt {
    char id[STORE_ID_SIZE];    /* of the receipt */
    char order[STORE_ID_SIZE]; /* the one that it ends; "" when the employee left and there was none */
};

/*
 * Takes a receipt: verified against the certificate `cert` of the connection it came on, else against another
 * one that the device was issued. The same receipt again changes nothing and is acknowledged again.
 * ERR_SIGNATURE, ERR_INVALID, ERR_NOT_FOUND for an order that is not this device's, ERR_TOO_LARGE when the
 * device delivered more receipts of one order than anybody needs.
 */
int ordering_receive(struct store *s, const char *device, X509 *cert, const cJSON *jws,
                     struct ordering_receipt *ret);

#endif
