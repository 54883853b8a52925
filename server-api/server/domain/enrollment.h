/*
 * Becoming a managed device: an admin makes a code for a user, the device redeems it once for a certificate.
 * The code is 192 random bits, kept as SHA-256 alone.
 */
#ifndef SATCHEL_SERVER_DOMAIN_ENROLLMENT_H
#define SATCHEL_SERVER_DOMAIN_ENROLLMENT_H

#include "server-api/contract/link.h"
#include "server-api/server/domain/organization.h"
#include "server-api/server/store/store_device.h"

#define ENROLLMENT_EXPIRES_LEAST 1                      /* seconds */
#define ENROLLMENT_EXPIRES_MOST (INT64_C(30) * 86400)   /* seconds */
#define ENROLLMENT_EXPIRES_DEFAULT (INT64_C(1) * 86400) /* seconds */

struct enrollment_code {
    char id[STORE_ID_SIZE];
    char link[LINK_MAX]; /* secret until it is used */
    int64_t expires_at;
};

/* ERR_NOT_FOUND for an unknown user. */
int enrollment_code_create(struct store *s, struct organization *o, const char *actor, const char *login,
                           int64_t seconds, struct enrollment_code *ret);

struct enrollment_request {
    const char *code, *csr;
    const char *name, *os, *agent_version; /* of the device */
};

struct enrollment {
    char device[STORE_ID_SIZE];
    struct buf certificate; /* PEM; owned */
    struct store_user user;
};

void enrollment_finish(struct enrollment *e);
#define enrollment_cleanup enrollment_finish

/* What enrollment_enroll() answers besides 0 and the fatal codes. Nothing was stored. */
enum enrollment_outcome {
    ENROLLMENT_CODE_UNKNOWN = 1,
    ENROLLMENT_CODE_USED,
    ENROLLMENT_CODE_EXPIRED,
    ENROLLMENT_CODE_MALFORMED,
    ENROLLMENT_CSR_INVALID,
};

/*
 * Redeems a code: device, certificate and the mark on the code are one transaction, so of any number that try
 * the same code one wins. ERR_INVALID for a device that describes itself with unusable texts.
 */
int enrollment_enroll(struct store *s, struct organization *o, const struct enrollment_request *request,
                      struct enrollment *ret);

/*
 * A further certificate for the device; the one before it stays valid until this one was used. Where there is
 * one for the same key that has not had two thirds of its life, that one is handed out: an answer that was
 * lost costs nothing, and a device whose clock is wrong does not collect certificates. ERR_INVALID for the
 * CSR, ERR_WRONG_STATE when there are unused ones for other keys already.
 */
int enrollment_renew(struct store *s, struct organization *o, const char *device, const char *csr,
                     struct buf *ret_pem);

#endif
