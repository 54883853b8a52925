#include "server-api/server/domain/device.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "server-api/server/auth/auth.h"

#include <stdio.h>
#include <string.h>

struct device_lookup {
    const char *digest;
    struct store_certificate certificate;
    struct store_device device;
};

static int device_lookup_body(struct store_tx *tx, void *arg) {
    struct device_lookup *l = arg;
    int r = store_certificate_get(tx, l->digest, &l->certificate);
    return r < 0 ? r : store_device_get(tx, l->certificate.device, &l->device);
}

static int device_refuse(struct http_request *r, unsigned status, const char *kind, const char *detail) {
    (void)http_problem(r, status, kind, "%s", detail);
    return ERR_AUTH;
}

/* What the row says of the certificate; the device is known to be who it says. */
static int device_admit(struct auth *a, struct http_request *r, const struct device_lookup *l, int64_t now,
                        X509 *cert) {
    const struct store_certificate *c = &l->certificate;
    bool dated = cert_not_before(cert) <= now && now < cert_not_after(cert) && now < c->expires_at;
    r->who.orders_only = !device_state_managed(l->device.state);
    r->who.receipts_only = l->device.state == DEVICE_WIPED || l->device.state == DEVICE_LEFT;
    if (l->device.state == DEVICE_DELETED)
        return device_refuse(r, 403, "device-not-enrolled", "this device is not enrolled any more");
    if (r->who.orders_only && r->route->gate & (r->who.receipts_only ? AUTH_WIPED : AUTH_WIPING))
        return 0;
    if (r->who.orders_only)
        return device_refuse(r, 403, "device-not-enrolled", "this device is not enrolled any more");
    if (c->revoked_at)
        return device_refuse(r, 403, "certificate-revoked", "this certificate was revoked");
    if (!dated)
        return device_refuse(r, 403, "certificate-expired", "this certificate is not valid today");
    if (c->first_used_at)
        return 0;
    if (!r->blocking) {
        r->blocking = true; /* its first use is written down, on a worker */
        return 0;
    }
    int e = device_certificate_used(a->store, c);
    if (e < 0)
        (void)http_fail(r, e);
    return e;
}

int auth_device(struct auth *a, struct http_request *r) {
    const char *digest;
    int *chain;
    X509 *cert = http_certificate(r, &digest, &chain);
    if (!cert)
        return device_refuse(r, 401, "certificate-missing",
                             "a client certificate of a device is needed here");
    if (*chain == 0)
        *chain = cert_verify_client(cert, a->organization->root, 0) == 0 ? 1 : -1;
    if (*chain < 0)
        return device_refuse(r, 403, "certificate-foreign", "this certificate is not of this organization");
    struct device_lookup l = {.digest = digest};
    int e = store_read(a->store, device_lookup_body, &l);
    if (e == ERR_NOT_FOUND)
        return device_refuse(r, 403, "certificate-unknown", "this certificate belongs to no device");
    if (e < 0) {
        (void)http_fail(r, e);
        return e;
    }
    int64_t now = clock_real_ms();
    (void)snprintf(r->who.device, sizeof r->who.device, "%s", l.device.id);
    (void)snprintf(r->who.actor, sizeof r->who.actor, "device:%s", l.device.id);
    e = device_admit(a, r, &l, now, cert);
    if (e == 0)
        seen_note(a->seen, l.device.id, now);
    store_device_finish(&l.device);
    return e;
}
