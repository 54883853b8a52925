#include "agent/reconcile/offline.h"

static int64_t offline_limit(int64_t days) {
    return days > 0 ? days * OFFLINE_DAY_MS : INT64_MAX;
}

static int64_t offline_left(int64_t limit, int64_t passed) {
    return limit == INT64_MAX ? INT64_MAX : passed >= limit ? 0 : limit - passed;
}

int64_t offline_cap(const struct offline_policy *policy) {
    if (policy->wipe_days <= 0)
        return 0;
    int64_t limit = offline_limit(policy->wipe_days);
    return limit / 2 > OFFLINE_DAYS_MS ? limit - OFFLINE_DAYS_MS : limit / 2;
}

/* Takes up what is due when so much is left, and when the next will be. */
static void offline_warn(struct offline_decision *d, int64_t left, unsigned given, unsigned days,
                         unsigned hour) {
    const struct {
        unsigned warning;
        int64_t before;
    } warnings[] = {{days, OFFLINE_DAYS_MS}, {hour, OFFLINE_HOUR_MS}};
    for (int i = 0; i < 2 && left != INT64_MAX; i++) {
        if (given & warnings[i].warning)
            continue;
        if (left <= warnings[i].before)
            d->warn |= warnings[i].warning;
        else if (left - warnings[i].before < d->next)
            d->next = left - warnings[i].before;
    }
}

void offline_decide(const struct offline_policy *policy, const struct contact *contact,
                    struct offline_decision *ret) {
    int64_t wipe_limit = offline_limit(policy->wipe_days), lock_limit = offline_limit(policy->lock_days);
    if (wipe_limit < lock_limit)
        lock_limit = wipe_limit;
    struct offline_decision d = {.lock_left = offline_left(lock_limit, contact->counted_ms),
                                 .wipe_left = offline_left(wipe_limit, contact->sure_ms),
                                 .next = INT64_MAX};
    bool warned = contact->warned & CONTACT_WARNED_WIPE_HOUR;
    if (wipe_limit != INT64_MAX) { /* an hour after the last warning, at the earliest */
        int64_t grace = warned ? offline_left(OFFLINE_HOUR_MS, contact->sure_ms - contact->warned_wipe_ms)
                               : OFFLINE_HOUR_MS;
        d.wipe_left = grace > d.wipe_left ? grace : d.wipe_left;
    }
    d.lock = d.lock_left == 0;
    d.wipe = d.wipe_left == 0;
    if (!d.lock) {
        offline_warn(&d, d.lock_left, contact->warned, CONTACT_WARNED_LOCK_DAYS, CONTACT_WARNED_LOCK_HOUR);
        if (d.lock_left < d.next)
            d.next = d.lock_left;
    }
    if (!d.wipe) {
        offline_warn(&d, d.wipe_left, contact->warned, CONTACT_WARNED_WIPE_DAYS, CONTACT_WARNED_WIPE_HOUR);
        if (d.wipe_left < d.next)
            d.next = d.wipe_left;
    }
    *ret = d;
}
