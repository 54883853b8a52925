/*
 * The certificate: a further one at two thirds of its life, for the same key. So there is never a moment with
 * two keys, a receipt verifies whichever certificate the server looks at, and every crash in between is safe:
 * the old certificate is good until the new one was used, and the server hands the same new one out again.
 */
#include "agent/reconcile/agent.h"
#include "agent/state/activity.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/base/log.h"
#include "server-api/contract/cert.h"

#include <string.h>

#define RENEW_LOOK_MS INT64_C(3600000) /* suspend may come in between */
#define RENEW_TRIES 4                  /* in the last third of its life, at least */

void agent_note_certificate(struct agent *a, const char *pem) {
    cleanup(X509) X509 *cert = pem ? cert_from_pem(pem, strlen(pem)) : NULL;
    int64_t at = cert ? cert_renew_at(cert) : 0;
    a->renew_at = at > 0 ? at : 0;
    int64_t pause = at > 0 ? (cert_not_after(cert) - at) / RENEW_TRIES : RENEW_LOOK_MS;
    a->renew_pause = pause > RENEW_LOOK_MS ? RENEW_LOOK_MS : pause;
    a->renew_after = 0;
}

/* What was asked and not answered yet is not asked again. */
static int renew_ask(struct agent *a) {
    cleanup(free) char *asked = outbox_get_csr(a->outbox);
    if (asked)
        return 0;
    cleanup(EVP_PKEY) EVP_PKEY *key = identity_key(a->identity);
    cleanup(buf) struct buf csr = {0};
    int r = key ? cert_request(key, &csr) : ERR_KEYRING;
    if (r == 0)
        outbox_csr(a->outbox, buf_steal(&csr));
    return r;
}

/* The server's clock, as far as it is known here: what this device's own says may be anything. */
static int64_t renew_time(const struct agent *a) {
    return a->contact_known && a->contact.stamp[0] ? a->contact.server_ms + a->contact.counted_ms
                                                   : clock_real_ms();
}

int64_t agent_renew(struct agent *a) {
    bool managed = a->device.state == DEVICE_ENROLLED || a->device.state == DEVICE_LOCKED;
    if (!managed || !a->loaded || !a->renew_at)
        return INT64_MAX;
    int64_t now = clock_boot_ms(), left = a->renew_at - renew_time(a);
    if (left > 0)
        return now + (left < RENEW_LOOK_MS ? left : RENEW_LOOK_MS);
    if (now >= a->renew_after) {
        a->renew_after = now + a->renew_pause;
        if (renew_ask(a) < 0)
            log_warning("cannot ask for a further certificate: %s; trying again", err_text());
    }
    return a->renew_after;
}

static int renew_check(struct agent *a, X509 *cert) {
    cleanup(X509) X509 *root = cert_from_pem(a->device.root_pem, strlen(a->device.root_pem));
    cleanup(EVP_PKEY) EVP_PKEY *key = identity_key(a->identity);
    if (!root || !key)
        return ERR_INVALID;
    if (EVP_PKEY_eq(X509_get0_pubkey(cert), key) != 1)
        return err_set(ERR_INVALID, "it is for another key");
    return cert_verify_client(cert, root, 0); /* the dates are the server's affair: this clock may be wrong */
}

int agent_take_certificate(struct agent *a, const char *pem) {
    bool managed = a->device.state == DEVICE_ENROLLED || a->device.state == DEVICE_LOCKED;
    if (!pem || !managed || !a->loaded)
        return 0;
    cleanup(X509) X509 *cert = cert_from_pem(pem, strlen(pem));
    int r = cert ? renew_check(a, cert) : ERR_INVALID;
    if (r == 0)
        r = keyring_store(&a->keyring, KEYRING_DEVICE_CERTIFICATE, "Satchel: device certificate", pem,
                          strlen(pem));
    if (r == 0)
        r = identity_set_certificate(a->identity, pem);
    if (r < 0)
        return err_context(r, "the further certificate was not taken");
    char until[CLOCK_RFC3339_SIZE];
    agent_note_certificate(a, pem);
    log_info("the certificate was renewed");
    activity_add(a->state_dir, "certificate", "This device's certificate was renewed; it is valid until %s.",
                 clock_rfc3339(cert_not_after(cert), until));
    return 0;
}
