/*
 * Who asks. The one place where certificates of devices and tokens of admins are checked; every route passes
 * it that is not marked HTTP_OPEN. Fails closed: whatever is not understood is refused.
 */
#ifndef SATCHEL_SERVER_AUTH_H
#define SATCHEL_SERVER_AUTH_H

#include "server-api/server/domain/organization.h"
#include "server-api/server/domain/seen.h"
#include "server-api/server/http/request.h"
#include "server-api/server/store/store.h"

struct auth {
    struct store *store;
    struct organization *organization;
    struct seen *seen;
};

/* For http_route.gate of the device listener: who may, besides an enrolled device with a certificate in
 * force. */
enum auth_flags {
    AUTH_WIPING = 1, /* a device with a wipe ordered, also with an expired or revoked certificate */
    AUTH_WIPED = 2,  /* a device that is wiped or has left */
};

#define AUTH_AUDIENCE "satchel-admin"
#define AUTH_LOCAL_PREFIX "local." /* of a token that was signed with DIR/keys/admin.pem */
#define AUTH_LOCAL_MS 60000        /* how far ahead it may expire */

/*
 * A device by its client certificate: issued by this organization's root for TLS clients, known to the store,
 * not revoked, in its dates. Chain and DER are looked at once a connection, the store at every request.
 */
int auth_device(struct auth *a, struct http_request *r);

/* An admin by a bearer token (RFC 6750). */
int auth_admin(struct auth *a, struct http_request *r);

#endif
