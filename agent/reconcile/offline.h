/*
 * The offline policy: what is due on a device that has been without contact for so long. Pure: facts in,
 * decision out. The order to lock or wipe is the signed profile itself ("policy": offline_lock_days,
 * offline_wipe_days).
 *
 * A wipe is never the first that the employee hears: it comes an hour after its last warning at the earliest,
 * however the time went by, so that a laptop that slept through the limit can reach the server first. A
 * device that is to be wiped is locked at the latest when the time for the wipe has passed by any clock.
 */
#ifndef SATCHEL_RECONCILE_OFFLINE_H
#define SATCHEL_RECONCILE_OFFLINE_H

#include "agent/state/contact.h"

#define OFFLINE_DAY_MS (INT64_C(86400) * 1000)
#define OFFLINE_HOUR_MS (INT64_C(3600) * 1000)
#define OFFLINE_DAYS_MS (2 * OFFLINE_DAY_MS) /* before the limit: the first warning */

struct offline_policy {
    int64_t lock_days, wipe_days; /* 0: never */
};

struct offline_decision {
    bool lock, wipe;
    unsigned warn;     /* enum contact_warning: those that are due and not given yet */
    int64_t lock_left; /* ms until the lock; 0: it is due; INT64_MAX: never */
    int64_t wipe_left; /* the same of the wipe */
    int64_t next;      /* ms until something else is due; INT64_MAX: nothing will be */
};

/* How much of the time for a wipe can pass while this device does not run: see contact_tick(). */
int64_t offline_cap(const struct offline_policy *policy);

void offline_decide(const struct offline_policy *policy, const struct contact *contact,
                    struct offline_decision *ret);

#endif
