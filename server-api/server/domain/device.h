/*
 * Managed devices: what a device is told (state) and what it tells (report).
 */
#ifndef SATCHEL_SERVER_DOMAIN_DEVICE_H
#define SATCHEL_SERVER_DOMAIN_DEVICE_H

#include "server-api/server/domain/organization.h"
#include "server-api/server/store/store_device.h"
#include "server-api/server/store/store_order.h"

#include <cjson/cJSON.h>

#define DEVICE_TAG_SIZE 96

struct device_view {
    char tag[DEVICE_TAG_SIZE]; /* changes when anything below does: [a-z0-9.] */
    enum device_state state;
    char *profile;        /* the JWS, owned; NULL: none in force for this device */
    struct buf orders;    /* the JWS of the open orders, with commas between; owned */
    int64_t orders_count; /* how many */
};

void device_view_finish(struct device_view *view);
#define device_view_cleanup device_view_finish

/* One snapshot of what the device shall have. From the moment a wipe is ordered that is orders alone. */
int device_view_read(struct store *s, const struct organization *o, const char *id, struct device_view *ret);

/*
 * Keeps the device's report (its known members) and takes what it says of orders. `orders_only`: a device
 * that is being wiped has nothing else to say. ERR_INVALID. *ret_orders_changed: somebody may wait for one.
 */
int device_report(struct store *s, const char *id, const cJSON *report, bool orders_only,
                  bool *ret_orders_changed);

/*
 * Takes a device off the lists. Its orders, receipts and audit entries stay; its certificates are revoked.
 * ERR_WRONG_STATE while an order of it is open, and, without `abandon`, for a device that may have the
 * company's mail. ERR_NOT_FOUND.
 */
int device_delete(struct store *s, const char *actor, const char *id, bool abandon);

/* Revokes the certificates before this one, when it is used for the first time. */
int device_certificate_used(struct store *s, const struct store_certificate *certificate);

#endif
