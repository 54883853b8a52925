/* The offline policy: what is due when, and that a wipe is never the first that the employee hears. */
#include "agent/reconcile/offline.h"
#include "tests/unit/cm.h"

#define D OFFLINE_DAY_MS
#define H OFFLINE_HOUR_MS

static struct offline_decision decide(int64_t lock_days, int64_t wipe_days, const struct contact *c) {
    const struct offline_policy policy = {.lock_days = lock_days, .wipe_days = wipe_days};
    struct offline_decision d;
    offline_decide(&policy, c, &d);
    return d;
}

static struct contact passed(int64_t ms) {
    return (struct contact){.counted_ms = ms, .sure_ms = ms};
}

static void no_policy_does_nothing(void **state) {
    (void)state;
    struct contact c = passed(CONTACT_EVER);
    struct offline_decision d = decide(0, 0, &c);
    assert_false(d.lock || d.wipe);
    assert_int_equal(d.warn, 0);
    assert_int_equal(d.next, INT64_MAX);
    assert_int_equal(d.lock_left, INT64_MAX);
    assert_int_equal(d.wipe_left, INT64_MAX);
}

static void a_lock_is_announced_twice(void **state) {
    (void)state;
    struct contact c = passed(0);
    struct offline_decision d = decide(14, 0, &c);
    assert_int_equal(d.warn, 0);
    assert_int_equal(d.next, 12 * D); /* the first warning */
    c = passed(12 * D);
    d = decide(14, 0, &c);
    assert_int_equal(d.warn, CONTACT_WARNED_LOCK_DAYS);
    assert_int_equal(d.lock_left, 2 * D);
    c.warned = CONTACT_WARNED_LOCK_DAYS;
    d = decide(14, 0, &c);
    assert_int_equal(d.warn, 0);
    assert_int_equal(d.next, 2 * D - H); /* the second */
    c = passed(14 * D - H);
    c.warned = CONTACT_WARNED_LOCK_DAYS;
    d = decide(14, 0, &c);
    assert_int_equal(d.warn, CONTACT_WARNED_LOCK_HOUR);
    c.warned |= CONTACT_WARNED_LOCK_HOUR;
    d = decide(14, 0, &c);
    assert_int_equal(d.next, H);
    assert_false(d.lock);
    c.counted_ms = 14 * D;
    d = decide(14, 0, &c);
    assert_true(d.lock && !d.wipe);
    assert_int_equal(d.lock_left, 0);
    assert_int_equal(d.next, INT64_MAX);
}

static void a_wipe_is_announced_twice_and_then_done(void **state) {
    (void)state;
    struct contact c = passed(28 * D);
    struct offline_decision d = decide(0, 30, &c);
    assert_true(d.warn & CONTACT_WARNED_WIPE_DAYS);
    c = passed(30 * D - H);
    c.warned = CONTACT_WARNED_WIPE_DAYS | CONTACT_WARNED_LOCK_DAYS | CONTACT_WARNED_LOCK_HOUR;
    d = decide(0, 30, &c);
    assert_int_equal(d.warn, CONTACT_WARNED_WIPE_HOUR);
    c.warned |= CONTACT_WARNED_WIPE_HOUR;
    c.warned_wipe_ms = c.sure_ms;
    d = decide(0, 30, &c);
    assert_false(d.wipe);
    c.counted_ms = c.sure_ms = 30 * D - 1;
    assert_false(decide(0, 30, &c).wipe);
    c.counted_ms = c.sure_ms = 30 * D;
    d = decide(0, 30, &c);
    assert_true(d.wipe && d.lock);
}

/* A laptop that slept through everything: locked at once, warned, wiped an hour later and not before. */
static void a_wipe_is_never_the_first_that_is_heard(void **state) {
    (void)state;
    struct contact c = passed(500 * D);
    struct offline_decision d = decide(14, 30, &c);
    assert_true(d.lock && !d.wipe);
    assert_true(d.warn & CONTACT_WARNED_WIPE_HOUR);
    assert_int_equal(d.wipe_left, H);
    c.warned = d.warn;
    c.warned_wipe_ms = c.sure_ms;
    c.sure_ms += H - 1;
    assert_false(decide(14, 30, &c).wipe);
    c.sure_ms += 1;
    assert_true(decide(14, 30, &c).wipe);
}

/* Where the clock only says that the time is over, the device is locked and keeps its mail for the grace. */
static void what_is_not_sure_locks(void **state) {
    (void)state;
    const struct offline_policy policy = {.wipe_days = 30};
    struct contact c = {.counted_ms = 400 * D, .sure_ms = offline_cap(&policy)};
    struct offline_decision d = decide(0, 30, &c);
    assert_true(d.lock && !d.wipe);
    assert_int_equal(d.wipe_left, 2 * D);
    assert_true(d.warn & CONTACT_WARNED_WIPE_DAYS);
}

static void the_cap_leaves_two_days_or_half(void **state) {
    (void)state;
    assert_int_equal(offline_cap(&(struct offline_policy){.wipe_days = 0}), 0);
    assert_int_equal(offline_cap(&(struct offline_policy){.wipe_days = 1}), D / 2);
    assert_int_equal(offline_cap(&(struct offline_policy){.wipe_days = 3}), 3 * D / 2);
    assert_int_equal(offline_cap(&(struct offline_policy){.wipe_days = 30}), 28 * D);
    assert_int_equal(offline_cap(&(struct offline_policy){.wipe_days = 3650}), 3648 * D);
}

/* A device that is to be wiped after a week and locked after a month is locked after a week. */
static void a_wipe_locks_before_it(void **state) {
    (void)state;
    struct contact c = passed(7 * D);
    struct offline_decision d = decide(30, 7, &c);
    assert_true(d.lock);
}

/* Whatever has passed: nothing is due that was not announced, and what is next lies ahead. */
static void in_every_hour(void **state) {
    (void)state;
    struct contact c = {0};
    bool locked = false;
    for (int64_t hour = 0; hour < 24 * 12; hour++) {
        struct offline_decision d = decide(5, 10, &c);
        c.warned |= d.warn;
        if (d.warn & CONTACT_WARNED_WIPE_HOUR)
            c.warned_wipe_ms = c.sure_ms;
        assert_true(d.next > 0);
        assert_true(!d.wipe || (c.warned & CONTACT_WARNED_WIPE_HOUR && c.warned & CONTACT_WARNED_WIPE_DAYS));
        assert_true(!locked || d.lock); /* only contact takes it back */
        locked = d.lock;
        assert_int_equal(d.lock, hour >= 24 * 5);
        assert_int_equal(d.wipe, hour >= 24 * 10);
        c.counted_ms += H;
        c.sure_ms += H;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_policy_does_nothing),
        cmocka_unit_test(a_lock_is_announced_twice),
        cmocka_unit_test(a_wipe_is_announced_twice_and_then_done),
        cmocka_unit_test(a_wipe_is_never_the_first_that_is_heard),
        cmocka_unit_test(what_is_not_sure_locks),
        cmocka_unit_test(the_cap_leaves_two_days_or_half),
        cmocka_unit_test(a_wipe_locks_before_it),
        cmocka_unit_test(in_every_hour),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
