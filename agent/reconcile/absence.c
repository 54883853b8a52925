/*
 * Being without contact: what the server's stamps begin anew, and what the offline policy of the signed
 * profile demands when none come. The counting is agent/state/contact.h, the decision offline.h; here is what
 * is done.
 */
#include "agent/profile/accept.h"
#include "agent/reconcile/agent.h"
#include "agent/reconcile/offline.h"
#include "agent/state/activity.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/base/json.h"
#include "platform/base/log.h"
#include "platform/desktop/notice.h"
#include "server-api/contract/profile.h"
#include "server-api/contract/stamp.h"

#include <stdio.h>
#include <string.h>

#define ABSENCE_SAVE_MS INT64_C(600000)   /* between two writes of the record */
#define ABSENCE_STORE_MS INT64_C(3600000) /* and of its copy in the keyring */
#define ABSENCE_KIND "contact"

static struct offline_policy absence_policy(const struct agent *a) {
    return (struct offline_policy){.lock_days = a->profile ? profile_offline_lock_days(a->profile) : 0,
                                   .wipe_days = a->profile ? profile_offline_wipe_days(a->profile) : 0};
}

static bool absence_managed(const struct agent *a) {
    return a->device.state == DEVICE_ENROLLED || a->device.state == DEVICE_LOCKED;
}

/* A record is as good as its stamp. One without is good only before the first contact, or says that it knows
 * nothing. */
static int absence_verify(const struct agent *a, const struct contact *c) {
    int64_t ms = 0;
    if (!c->stamp[0])
        return c->lost || !a->device.contact ? 0 : err_set(ERR_INVALID, "it has no stamp of the server");
    int r = stamp_open(&a->trust, c->stamp, &ms);
    return r < 0 || ms == c->server_ms ? r : err_set(ERR_INVALID, "it contradicts its stamp");
}

static int absence_load_copy(struct agent *a, struct contact *ret) {
    cleanup(buf) struct buf text = {.secret = true};
    int r = keyring_load(&a->keyring, ABSENCE_KIND, &text);
    return r < 0 ? r : contact_parse(text.data ? text.data : "", text.len, ret);
}

/* Takes one of the two records into account. */
static void absence_take_record(struct agent *a, int r, struct contact *c, const struct contact_clock *now,
                                const char *what) {
    if (r == 0)
        r = absence_verify(a, c);
    if (r < 0) {
        if (r != ERR_NOT_FOUND)
            log_warning("%s of the last contact is not usable: %s", what, err_text());
        return;
    }
    const struct offline_policy policy = absence_policy(a);
    contact_tick(c, now, offline_cap(&policy));
    if (a->contact_known)
        contact_merge(&a->contact, c);
    else
        a->contact = *c;
    a->contact_known = true;
}

/*
 * The record from the disk and its copy from the keyring, once that can be read. Where both are lost on a
 * device that had one, nobody knows how long it has been without contact: that locks.
 */
static void absence_load(struct agent *a, const struct contact_clock *now) {
    struct contact c = {0};
    if (!a->contact_known)
        absence_take_record(a, contact_load(a->state_dir, &c), &c, now, "the record");
    if (a->contact_merged || !a->loaded)
        return;
    absence_take_record(a, absence_load_copy(a, &c), &c, now, "the keyring's copy of the record");
    a->contact_merged = true;
    if (a->contact_known)
        return;
    a->contact_known = true;
    if (!a->device.contact) {
        contact_begin(&a->contact, "", now->real_ms, now);
        return;
    }
    contact_lost(&a->contact, now);
    log_error("no usable record of the last contact; this device counts as long without");
    activity_add(
        a->state_dir, "contact",
        "The record of the last contact to %s was lost or damaged, so this device counts as without contact "
        "for long, until there is one.",
        a->device.organization);
}

static void absence_save(struct agent *a, int64_t now, bool force) {
    if (force || !a->contact_saved || now - a->contact_saved >= ABSENCE_SAVE_MS) {
        if (contact_save(a->state_dir, &a->contact) < 0)
            log_warning("%s, ignoring", err_text());
        else
            a->contact_saved = now;
    }
    if (!a->loaded || !(force || !a->contact_stored || now - a->contact_stored >= ABSENCE_STORE_MS))
        return;
    cleanup(free) char *text = contact_print(&a->contact);
    if (!text || keyring_store(&a->keyring, ABSENCE_KIND, "Satchel: last contact", text, strlen(text)) < 0)
        log_warning("no copy of the last contact in the keyring: %s, ignoring", err_text());
    else
        a->contact_stored = now;
}

/* Only a record that is on the disk may be missed there later. */
static void absence_expect_record(struct agent *a) {
    if (a->device.contact || !a->contact_saved)
        return;
    a->device.contact = true;
    if (device_save(a->state_dir, &a->device) < 0)
        log_warning("%s, ignoring", err_text());
}

static void absence_unlock(struct agent *a) {
    a->device.lock.offline = false;
    a->device.state = device_state_at_rest(&a->device);
    if (device_save(a->state_dir, &a->device) < 0)
        log_warning("%s, ignoring", err_text());
    agent_show(a);
    log_info("in contact again");
    activity_add(a->state_dir, "unlocked",
                 "In contact with %s again; the lock because of missing contact is over.",
                 a->device.organization);
}

void agent_contact(struct agent *a, const char *stamp, bool trust_changed) {
    int64_t ms = 0;
    if (!absence_managed(a) || strcmp(stamp, a->contact.stamp) == 0)
        return;
    if (stamp_open(&a->trust, stamp, &ms) < 0) {
        log_warning("not taken as contact: %s", err_text());
        return;
    }
    struct contact_clock now;
    contact_now(&now);
    bool locked = a->device.lock.offline;
    /* What is written must not be worse than what is known: a server whose clock was set back, other signing
     * keys. */
    bool force = locked || trust_changed || ms < a->contact.server_ms || a->contact.warned ||
                 !a->device.contact || a->contact.lost;
    contact_begin(&a->contact, stamp, ms, &now);
    a->contact_known = a->contact_merged = true;
    a->offline_over = false;
    absence_save(a, now.boot_ms, force);
    absence_expect_record(a);
    if (locked)
        absence_unlock(a);
}

/* "2 days", "1 hour": what is left, for a warning. */
static const char *absence_time(int64_t ms, char ret[40]) {
    int64_t hours = (ms + OFFLINE_HOUR_MS - 1) / OFFLINE_HOUR_MS, days = (hours + 12) / 24;
    if (hours > 36)
        (void)snprintf(ret, 40, "%lld days", (long long)days);
    else if (hours > 1)
        (void)snprintf(ret, 40, "%lld hours", (long long)hours);
    else
        (void)snprintf(ret, 40, "1 hour");
    return ret;
}

static void absence_warn(struct agent *a, const struct offline_decision *d) {
    bool wipe = d->warn & (CONTACT_WARNED_WIPE_DAYS | CONTACT_WARNED_WIPE_HOUR);
    char left[40], text[BOARD_TEXT];
    (void)absence_time(wipe ? d->wipe_left : d->lock_left, left);
    if (wipe)
        board_text(text,
                   "This device is without contact to %s. Without one its mail is removed from here in %s. "
                   "Connect to "
                   "the network in which the management server is reached.",
                   a->device.organization, left);
    else
        board_text(text,
                   "This device is without contact to %s. Without one its mail is locked here in %s; nothing "
                   "is lost. "
                   "Connect to the network in which the management server is reached.",
                   a->device.organization, left);
    a->contact.warned |= d->warn;
    if (d->warn & CONTACT_WARNED_WIPE_HOUR)
        a->contact.warned_wipe_ms = a->contact.sure_ms;
    log_warning("%s", text);
    activity_add(a->state_dir, "warning", "%s", text);
    notice_show(wipe ? "Your organization's mail is going to be removed"
                     : "Your organization's mail is going to be locked",
                text, true);
}

static void absence_lock(struct agent *a) {
    a->device.lock.offline = true;
    if (!a->device.lock.ordered)
        a->device.lock.since = clock_real_ms();
    a->device.state = DEVICE_LOCKED;
    if (device_save(a->state_dir, &a->device) < 0)
        log_error("%s; locking all the same", err_text());
    agent_show(a);
    log_warning("locked: without contact for too long");
    activity_add(
        a->state_dir, "locked",
        "This device was without contact to %s for too long, as its profile has it: its mail stays here, "
        "closed, until there is contact again.",
        a->device.organization);
    notice_show(
        "Your organization's mail is locked",
        "This device was without contact for too long. The mail opens again once the management server is "
        "reached.",
        true);
}

static void absence_show(const struct agent *a, const struct offline_decision *d) {
    struct board_view *v = board_begin(a->board);
    v->offline_lock_left = d->lock_left == INT64_MAX ? -1 : d->lock_left;
    v->offline_wipe_left = d->wipe_left == INT64_MAX ? -1 : d->wipe_left;
    board_end(a->board);
}

int64_t agent_absent(struct agent *a) {
    struct contact_clock now;
    struct offline_decision d;
    if (!absence_managed(a))
        return INT64_MAX;
    contact_now(&now);
    absence_load(a, &now);
    if (!a->contact_known)
        return INT64_MAX; /* until the keyring answers; without it nothing is opened anyway */
    const struct offline_policy policy = absence_policy(a);
    contact_tick(&a->contact, &now, offline_cap(&policy));
    offline_decide(&policy, &a->contact, &d);
    if (a->contact_merged) /* before, the record may be one that somebody made look better */
        absence_show(a, &d);
    if (d.warn)
        absence_warn(a, &d);
    if (d.lock && !a->device.lock.offline)
        absence_lock(a);
    absence_save(a, now.boot_ms, d.warn != 0);
    a->offline_over = d.wipe;
    if (d.wipe)
        agent_wipe_offline(a);
    bool active = policy.lock_days > 0 || policy.wipe_days > 0;
    int64_t next = d.next < ABSENCE_SAVE_MS ? d.next : ABSENCE_SAVE_MS;
    return active ? now.boot_ms + next : INT64_MAX;
}

void agent_forget_contact(struct agent *a) {
    a->contact = (struct contact){0};
    a->contact_known = a->contact_merged = a->offline_over = false;
    a->contact_saved = a->contact_stored = 0;
    struct board_view *v = board_begin(a->board);
    v->offline_lock_left = v->offline_wipe_left = -1;
    board_end(a->board);
}
