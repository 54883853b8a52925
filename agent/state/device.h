/*
 * The device record, device.json in the state directory: who this device is to its organization, and in which
 * state it is. No secret is in it. Written only by the worker thread, atomically; a crash leaves the old or
 * the new one. The struct is a plain value that the worker owns; other threads get copies through the board.
 */
#ifndef SATCHEL_STATE_DEVICE_H
#define SATCHEL_STATE_DEVICE_H

#include "server-api/contract/order.h"

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

enum device_state { DEVICE_UNENROLLED, DEVICE_ENROLLED, DEVICE_LOCKED, DEVICE_WIPING, DEVICE_WIPED };

struct device {
    enum device_state state;
    char server[300]; /* https://HOST:PORT */
    char id[65];
    char organization[129];
    char login[255], address[255], name[255];
    char fingerprint[44]; /* of the root key, pinned at enrollment */
    char *root_pem;       /* owned: the organization's root certificate */
    cJSON *trust;         /* owned: the trust document, a JWS by the root key */
    int64_t trust_version;
    int64_t last_sequence; /* of the last order taken: lower ones are replays */
    struct {
        bool ordered, offline;             /* by whom the device is locked; neither: it is not */
        char reason[ORDER_REASON_MAX + 1]; /* of the order */
        int64_t since;                     /* ms since 1970 */
    } lock;
    struct {
        char order[ORDER_ID_MAX + 1]; /* the last lock or unlock that was taken; "": none */
        bool unlock;
        bool told; /* the server has its receipt */
    } duty;
    bool contact;      /* a record of contact was kept: one that is missing was lost */
    bool acknowledged; /* the server has the receipt: only the last secrets are left to remove */
};

const char *device_state_name(enum device_state state);

/* What a device is that is not being wiped: locked or not. */
enum device_state device_state_at_rest(const struct device *d);

/* Reads the record. Without one the device is unenrolled. ERR_INVALID for a damaged record: nothing may be
 * guessed from it. */
int device_load(int state_dir, struct device *ret);
int device_save(int state_dir, const struct device *d);

/* Removes the record: the device is unenrolled from here on. */
int device_remove(int state_dir);

void device_finish(struct device *d);
#define device_cleanup device_finish

#endif
