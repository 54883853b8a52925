/*
 * Contact: how long this device has been without its server. Counted from the last stamp of the server
 * (server-api/contract/stamp.h) in two ways: `counted_ms`, which locks, and `sure_ms`, which wipes. Both only
 * grow until the next contact, whatever becomes of the clock:
 *
 * - within one boot by CLOCK_BOOTTIME, which suspend does not stop and nobody sets;
 * - from one boot to the next by the time since the new boot at least, and by the wall clock where that says
 * more: as far as the clock as it is and the clock corrected by what it was off at the last contact agree.
 * That part of it nobody can prove, so it counts for a lock in full, and for a wipe only up to `cap_ms`, a
 * grace before the limit; the rest must pass while this device runs.
 *
 * The record is contact.json in the state directory, with a copy in the keyring (the worker's affair). A
 * stamp in it is verified again when it is read. One that is lost counts as "without contact since ever": it
 * locks, and puts the wipe at its cap; it never erases by itself, and never gives time.
 *
 * Plain values; written by the worker alone.
 */
#ifndef SATCHEL_STATE_CONTACT_H
#define SATCHEL_STATE_CONTACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONTACT_FILE "contact.json"
#define CONTACT_MAX ((size_t)8192)
#define CONTACT_BOOT_SIZE 37
#define CONTACT_STAMP_SIZE 1025
#define CONTACT_EVER (INT64_C(100) * 365 * 86400 * 1000) /* ms */

enum contact_warning {
    CONTACT_WARNED_LOCK_DAYS = 1,
    CONTACT_WARNED_LOCK_HOUR = 2,
    CONTACT_WARNED_WIPE_DAYS = 4,
    CONTACT_WARNED_WIPE_HOUR = 8,
};

/* The clocks at one moment. */
struct contact_clock {
    char boot[CONTACT_BOOT_SIZE]; /* which boot this is */
    int64_t boot_ms, real_ms;
};

struct contact {
    char stamp[CONTACT_STAMP_SIZE]; /* the last one; "": none */
    int64_t server_ms;              /* its time */
    int64_t skew_ms;                /* what the wall clock was ahead of it, when it came */
    char boot[CONTACT_BOOT_SIZE];   /* when it was counted last */
    int64_t boot_ms;
    int64_t counted_ms, sure_ms;
    bool lost;              /* nothing is known of the last contact */
    unsigned warned;        /* enum contact_warning */
    int64_t warned_wipe_ms; /* sure_ms when CONTACT_WARNED_WIPE_HOUR was given */
};

/* The clocks now. */
void contact_now(struct contact_clock *ret);

/* A contact: counts from here. `stamp` was verified and says `server_ms`. */
void contact_begin(struct contact *c, const char *stamp, int64_t server_ms, const struct contact_clock *now);

/* What is known of a device whose record is lost. */
void contact_lost(struct contact *c, const struct contact_clock *now);

/* Counts up to now. */
void contact_tick(struct contact *c, const struct contact_clock *now, int64_t cap_ms);

/* Takes from `other` what is later or counts more. Both were ticked to the same moment. */
void contact_merge(struct contact *c, const struct contact *other);

/* The record as text. The caller's; NULL without memory. */
char *contact_print(const struct contact *c);

/* ERR_INVALID for everything that contact_print() does not write. The stamp is NOT verified. */
int contact_parse(const char *text, size_t n, struct contact *ret);

/* ERR_NOT_FOUND, ERR_INVALID, ERR_SYSTEM. */
int contact_load(int state_dir, struct contact *ret);
int contact_save(int state_dir, const struct contact *c);
int contact_remove(int state_dir);

#endif
