/*
 * Enrollment: from a link to a device identity. It talks to the server and stores nothing; the worker stores
 * what comes back. Any thread, blocking.
 */
#ifndef SATCHEL_ENROLL_ENROLL_H
#define SATCHEL_ENROLL_ENROLL_H

#include "agent/state/device.h"
#include "platform/base/buf.h"
#include "server-api/contract/key.h"
#include "server-api/contract/link.h"

struct enrollment {
    struct device device; /* owned, state DEVICE_ENROLLED */
    struct buf cert_pem;  /* owned */
};

/*
 * Finds the organization's root certificate in what the server presents, by the fingerprint of the link;
 * then, over a connection that trusts this root alone, exchanges the code for a certificate of `key` and
 * checks everything that comes back. ERR_REFUSED (code, fingerprint), ERR_TLS (another server's certificate),
 * ERR_UNREACHABLE, ERR_TIMEOUT, ERR_CANCELED, ERR_PROTOCOL.
 */
int enroll_run(const struct link *link, EVP_PKEY *key, int cancel, struct enrollment *ret);

void enroll_finish(struct enrollment *e);
#define enrollment_cleanup enroll_finish

#endif
