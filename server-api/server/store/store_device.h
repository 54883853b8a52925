/*
 * Devices and their certificates. For domain/enrollment.c, domain/devices.c, domain/orders.c and auth/.
 */
#ifndef SATCHEL_SERVER_STORE_DEVICE_H
#define SATCHEL_SERVER_STORE_DEVICE_H

#include "server-api/server/store/store_code.h"

#define DEVICE_NAME_MAX 128
#define DEVICE_OS_MAX 128
#define DEVICE_AGENT_MAX 64
#define DEVICE_REPORT_MAX ((size_t)16 << 10)

/*
 * DEVICE_LOCKED by a verified receipt, until the receipt of an unlock. DEVICE_WIPING from the moment a wipe
 * is ordered: no profile any more. DEVICE_WIPED and DEVICE_LEFT only by a verified receipt, and for good: a
 * device enrolled again is another device. DEVICE_DELETED: an admin took it off the lists; what it signed
 * stays.
 */
enum device_state {
    DEVICE_ENROLLED,
    DEVICE_LOCKED,
    DEVICE_WIPING,
    DEVICE_WIPED,
    DEVICE_LEFT,
    DEVICE_DELETED,
    DEVICE_STATES
};

/* The device may have the company's mail, and nothing is on its way to change that. */
static inline int device_state_managed(enum device_state state) {
    return state == DEVICE_ENROLLED || state == DEVICE_LOCKED;
}

const char *device_state_name(enum device_state state);

struct store_device {
    char id[STORE_ID_SIZE];
    char login[USER_LOGIN_MAX + 1];
    char name[DEVICE_NAME_MAX + 1];
    char os[DEVICE_OS_MAX + 1];
    char agent_version[DEVICE_AGENT_MAX + 1];
    enum device_state state;
    int64_t enrolled_at, last_seen, order_sequence, reported_at;
    char *report; /* owned; NULL in lists and where there was none */
};

void store_device_finish(struct store_device *device);
#define store_device_cleanup store_device_finish

int store_device_add(struct store_tx *tx, const struct store_device *device);

/* ERR_NOT_FOUND. *ret is finished by store_device_finish(). */
int store_device_get(struct store_tx *tx, const char *id, struct store_device *ret);

typedef int store_device_fn(const struct store_device *device, void *arg);

/* Up to `limit` devices behind the id `after` ("": from the first), by id, without their reports; not the
 * deleted ones. */
int store_device_each(struct store_tx *tx, const char *after, size_t limit, store_device_fn *fn, void *arg);

int store_device_set_state(struct store_tx *tx, const char *id, enum device_state state);
int store_device_set_seen(struct store_tx *tx, const char *id, int64_t now);
int store_device_set_report(struct store_tx *tx, const char *id, const char *os, const char *agent_version,
                            const char *report, int64_t now);

/* Counts one up and hands out the number: 1 for the first order of a device. */
int store_device_next_sequence(struct store_tx *tx, const char *id, int64_t *ret);

/* How many devices are in each state. */
int store_device_count(struct store_tx *tx, int64_t ret[DEVICE_STATES]);

struct store_certificate {
    char digest[STORE_HASH_SIZE]; /* cert_digest() */
    char device[STORE_ID_SIZE];
    int64_t issued_at, expires_at;
    int64_t first_used_at, revoked_at; /* 0: never */
};

int store_certificate_add(struct store_tx *tx, const struct store_certificate *certificate, const char *pem);

/* ERR_NOT_FOUND. */
int store_certificate_get(struct store_tx *tx, const char *digest, struct store_certificate *ret);

/* The first use of a renewed certificate ends the ones before it. */
int store_certificate_first_use(struct store_tx *tx, const struct store_certificate *certificate,
                                int64_t now);

/* Revokes whatever the device has. */
int store_certificate_revoke_all(struct store_tx *tx, const char *device, int64_t now);

typedef int store_pem_fn(const char *pem, void *arg);

/* The certificates of the device that are not revoked, newest first. */
int store_certificate_each_unrevoked(struct store_tx *tx, const char *device, store_pem_fn *fn, void *arg);

/* How many certificates the device was issued and has not used yet. */
int store_certificate_unused(struct store_tx *tx, const char *device, int64_t *ret);

/* Every certificate the device was ever issued, newest first. */
int store_certificate_each(struct store_tx *tx, const char *device, store_pem_fn *fn, void *arg);

#endif
