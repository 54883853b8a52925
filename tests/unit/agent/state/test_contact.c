/* How long without contact: what suspend, reboots, clocks that are set and lost records do to it. */
#include "agent/state/contact.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/base/file.h"
#include "tests/unit/cm.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HOUR INT64_C(3600000)
#define DAY (24 * HOUR)
#define T0 INT64_C(1764064800000) /* 2025-11-25 */
#define CAP (12 * DAY)

static struct contact_clock at(const char *boot, int64_t boot_ms, int64_t real_ms) {
    struct contact_clock now = {.boot_ms = boot_ms, .real_ms = real_ms};
    (void)snprintf(now.boot, sizeof now.boot, "%s", boot);
    return now;
}

/* A contact at T0 by the server, one hour into boot "a", while the wall clock is `skew` ahead. */
static struct contact begun(int64_t skew) {
    struct contact c;
    struct contact_clock now = at("a", HOUR, T0 + skew);
    contact_begin(&c, "stamp", T0, &now);
    return c;
}

static void tick(struct contact *c, const char *boot, int64_t boot_ms, int64_t real_ms) {
    struct contact_clock now = at(boot, boot_ms, real_ms);
    contact_tick(c, &now, CAP);
}

static void within_a_boot_only_boottime_counts(void **state) {
    (void)state;
    struct contact c = begun(0);
    tick(&c, "a", HOUR + 3 * DAY, T0 + 3 * DAY); /* suspended or not: BOOTTIME goes on */
    assert_int_equal(c.counted_ms, 3 * DAY);
    assert_int_equal(c.sure_ms, 3 * DAY);
    tick(&c, "a", HOUR + 4 * DAY, T0 - 300 * DAY); /* set back */
    tick(&c, "a", HOUR + 5 * DAY, T0 + 900 * DAY); /* set forward */
    assert_int_equal(c.counted_ms, 5 * DAY);
    assert_int_equal(c.sure_ms, 5 * DAY);
    tick(&c, "a", HOUR, T0); /* BOOTTIME never does that; nothing is taken back */
    assert_int_equal(c.counted_ms, 5 * DAY);
}

static void a_reboot_counts_by_the_wall_clock(void **state) {
    (void)state;
    struct contact c = begun(0);
    tick(&c, "a", HOUR + DAY, T0 + DAY);
    tick(&c, "b", HOUR, T0 + 4 * DAY); /* off for almost three days */
    assert_int_equal(c.counted_ms, 4 * DAY);
    assert_int_equal(c.sure_ms, 4 * DAY);
    tick(&c, "b", HOUR + DAY, T0 + 5 * DAY);
    assert_int_equal(c.counted_ms, 5 * DAY);
}

static void a_clock_set_back_does_not_stretch_it(void **state) {
    (void)state;
    struct contact c = begun(0);
    tick(&c, "a", HOUR + 5 * DAY, T0 + 5 * DAY);
    tick(&c, "b", DAY, T0 - 30 * DAY); /* what this boot ran is certain */
    assert_int_equal(c.counted_ms, 6 * DAY);
    assert_int_equal(c.sure_ms, 6 * DAY);
    tick(&c, "c", HOUR, T0 + 8 * DAY); /* set right again: everything is counted, once */
    assert_int_equal(c.counted_ms, 8 * DAY);
    assert_int_equal(c.sure_ms, 8 * DAY);
}

static void a_clock_set_forward_locks_and_does_not_wipe(void **state) {
    (void)state;
    struct contact c = begun(0);
    tick(&c, "b", HOUR, T0 + 5000 * DAY);
    assert_int_equal(c.counted_ms, 5000 * DAY);
    assert_int_equal(c.sure_ms, CAP);
    for (int i = 0; i < 10; i++) /* again and again */
        tick(&c, i % 2 ? "b" : "c", HOUR, T0 + 6000 * DAY + i * DAY);
    assert_true(c.sure_ms < CAP + 11 * HOUR); /* no more than it ran */
    tick(&c, "b", HOUR + DAY, T0);
    tick(&c, "b", HOUR + 2 * DAY, T0);
    assert_true(c.sure_ms >= CAP + 2 * DAY);
}

/* The clock was wrong when there was contact, as on a laptop without a battery for it, and is right
 * afterwards; or the other way round. Neither is time that passed. */
static void a_clock_that_was_wrong_at_the_contact(void **state) {
    (void)state;
    struct contact behind = begun(-3000 * DAY), ahead = begun(20 * DAY);
    tick(&behind, "b", HOUR, T0 + 2 * HOUR);
    assert_int_equal(behind.counted_ms, 2 * HOUR);
    behind = begun(-3000 * DAY);
    tick(&behind, "b", HOUR, T0 - 3000 * DAY + 2 * HOUR); /* still wrong */
    assert_int_equal(behind.counted_ms, HOUR);
    tick(&ahead, "b", HOUR, T0 + 20 * DAY + 2 * HOUR); /* always ahead */
    assert_int_equal(ahead.counted_ms, 2 * HOUR);
    ahead = begun(20 * DAY);
    tick(&ahead, "b", HOUR, T0 + 2 * HOUR);
    assert_int_equal(ahead.counted_ms, HOUR);
}

static void a_lost_record_locks_and_stands_at_the_cap(void **state) {
    (void)state;
    struct contact c;
    for (int64_t real = 0; real <= T0; real += T0) { /* also with the clock at 1970 */
        struct contact_clock now = at("a", HOUR, real);
        contact_lost(&c, &now);
        contact_tick(&c, &now, CAP);
        assert_int_equal(c.counted_ms, CONTACT_EVER);
        assert_int_equal(c.sure_ms, CAP);
        tick(&c, "a", 2 * HOUR, real);
        assert_int_equal(c.sure_ms, CAP + HOUR);
        assert_int_equal(c.counted_ms, CONTACT_EVER);
    }
}

static void the_record_and_its_copy(void **state) {
    (void)state;
    struct contact more = begun(0), less = begun(0), newer, lost;
    tick(&more, "a", HOUR + 2 * DAY, T0);
    less.warned = CONTACT_WARNED_LOCK_DAYS;
    contact_merge(&less, &more); /* an older copy that was put back does not give time */
    assert_int_equal(less.counted_ms, 2 * DAY);
    assert_int_equal(less.warned, CONTACT_WARNED_LOCK_DAYS);
    struct contact_clock now = at("a", HOUR + 3 * DAY, T0 + 3 * DAY);
    contact_begin(&newer, "stamp 2", T0 + 3 * DAY, &now);
    contact_merge(&more, &newer);
    assert_string_equal(more.stamp, "stamp 2");
    assert_int_equal(more.counted_ms, 0);
    contact_merge(&newer, &less);
    assert_string_equal(newer.stamp, "stamp 2");
    contact_lost(&lost, &now);
    contact_merge(&lost, &newer);
    assert_false(lost.lost);
}

static void round_trip(void **state) {
    (void)state;
    struct contact c = begun(-5), back;
    tick(&c, "b", DAY, T0 + 9 * DAY);
    c.warned = CONTACT_WARNED_WIPE_HOUR;
    c.warned_wipe_ms = 7;
    char *text = contact_print(&c);
    assert_int_equal(contact_parse(text, strlen(text), &back), 0);
    assert_memory_equal(&c.server_ms, &back.server_ms, sizeof c.server_ms);
    assert_int_equal(back.skew_ms, -5);
    assert_int_equal(back.counted_ms, c.counted_ms);
    assert_int_equal(back.sure_ms, c.sure_ms);
    assert_int_equal(back.warned, c.warned);
    assert_int_equal(back.warned_wipe_ms, 7);
    assert_string_equal(back.boot, "b");
    assert_string_equal(back.stamp, "stamp");
    for (size_t n = 0; n < strlen(text); n++) /* torn anywhere */
        assert_int_equal(contact_parse(text, n, &back), ERR_INVALID);
    free(text);
}

static void damage_is_an_error(void **state) {
    (void)state;
    struct contact c = {.counted_ms = 77};
    static const char *const bad[] = {"",
                                      "{}",
                                      "[]",
                                      "{\"type\":\"contact\"}",
                                      "{\"type\":\"contact\",\"stamp\":\"\",\"server_ms\":0,\"skew_ms\":0,"
                                      "\"boot\":\"a\",\"boot_ms\":0,\"counted_ms\":-1,"
                                      "\"sure_ms\":0,\"lost\":false,\"warned\":0,\"warned_wipe_ms\":0}",
                                      "{\"type\":\"contact\",\"stamp\":\"\",\"server_ms\":0,\"skew_ms\":0,"
                                      "\"boot\":\"a\",\"boot_ms\":0,\"counted_ms\":0,"
                                      "\"sure_ms\":1e30,\"lost\":false,\"warned\":0,\"warned_wipe_ms\":0}",
                                      "{\"type\":\"contact\",\"stamp\":\"\",\"server_ms\":0,\"skew_ms\":0,"
                                      "\"boot\":\"a\",\"boot_ms\":0,\"counted_ms\":0,"
                                      "\"sure_ms\":0,\"lost\":false,\"warned\":16,\"warned_wipe_ms\":0}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(contact_parse(bad[i], strlen(bad[i]), &c), ERR_INVALID);
    assert_int_equal(c.counted_ms, 77);
}

static void on_the_disk(void **state) {
    (void)state;
    char scratch[] = "/tmp/satchel-test-XXXXXX";
    assert_non_null(mkdtemp(scratch));
    int dir = open(scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct contact c = begun(0), back;
    assert_int_equal(contact_load(dir, &back), ERR_NOT_FOUND);
    assert_int_equal(contact_save(dir, &c), 0);
    assert_int_equal(contact_load(dir, &back), 0);
    assert_int_equal(back.server_ms, T0);
    assert_int_equal(file_write_atomic(dir, CONTACT_FILE, "{", 1, 0600), 0);
    assert_int_equal(contact_load(dir, &back), ERR_INVALID);
    assert_int_equal(contact_remove(dir), 0);
    assert_int_equal(contact_remove(dir), 0);
    (void)close(dir);
    assert_int_equal(file_remove_tree(AT_FDCWD, scratch, NULL), 0);
}

static int64_t five(void) {
    return 5;
}

static int64_t six(void) {
    return 6;
}

static void the_clocks_of_now(void **state) {
    (void)state;
    static const struct clock_source fake = {.boot_ms = five, .real_ms = six};
    struct contact_clock now;
    clock_set_source(&fake);
    contact_now(&now);
    clock_set_source(NULL);
    assert_int_equal(now.boot_ms, 5);
    assert_int_equal(now.real_ms, 6);
    assert_int_equal(strlen(now.boot), 36);
    contact_now(&now);
    assert_true(now.real_ms > T0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(within_a_boot_only_boottime_counts),
        cmocka_unit_test(a_reboot_counts_by_the_wall_clock),
        cmocka_unit_test(a_clock_set_back_does_not_stretch_it),
        cmocka_unit_test(a_clock_set_forward_locks_and_does_not_wipe),
        cmocka_unit_test(a_clock_that_was_wrong_at_the_contact),
        cmocka_unit_test(a_lost_record_locks_and_stands_at_the_cap),
        cmocka_unit_test(the_record_and_its_copy),
        cmocka_unit_test(round_trip),
        cmocka_unit_test(damage_is_an_error),
        cmocka_unit_test(on_the_disk),
        cmocka_unit_test(the_clocks_of_now),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
