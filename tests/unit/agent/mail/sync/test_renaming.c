#include "tests/unit/cm.h"

#include "agent/mail/sync/renaming.h"

#include <stdio.h>
#include <string.h>

#define NAMES 8

/* Carries out what renaming_next() says, on a copy of the names, and checks that each finds its new name
 * free. */
struct play {
    char now[NAMES][64];
    const char *wanted[NAMES];
    size_t n, steps, aside;
};

static void play_begin(struct play *p, const char *const pairs[][2], size_t n) {
    memset(p, 0, sizeof *p);
    for (p->n = 0; p->n < n; p->n++) {
        (void)snprintf(p->now[p->n], sizeof p->now[0], "%s", pairs[p->n][0]);
        p->wanted[p->n] = pairs[p->n][1];
    }
}

static void play_rename(struct play *p, size_t which, const char *to, char delimiter) {
    char from[64], moved[128];
    (void)snprintf(from, sizeof from, "%s", p->now[which]);
    for (size_t i = 0; i < p->n; i++) {
        const char *rest = i == which ? "" : renaming_below(p->now[i], from, delimiter);
        assert_string_not_equal(p->now[i], to);
        if (!rest)
            continue;
        (void)snprintf(moved, sizeof moved, "%s%s", to, rest);
        (void)snprintf(p->now[i], sizeof p->now[0], "%.63s", moved);
    }
}

static void play(struct play *p, char delimiter) {
    for (p->steps = 0; p->steps < 32; p->steps++) {
        struct renaming items[NAMES];
        size_t which = NAMES;
        char aside[16];
        for (size_t i = 0; i < p->n; i++)
            items[i] = (struct renaming){.now = p->now[i], .wanted = p->wanted[i]};
        enum renaming_what what = renaming_next(items, p->n, delimiter, &which);
        if (what == RENAMING_NONE)
            return;
        assert_in_range(which, 0, p->n - 1);
        p->aside += what == RENAMING_ASIDE;
        (void)snprintf(aside, sizeof aside, "aside-%zu", which);
        play_rename(p, which, what == RENAMING_ASIDE ? aside : p->wanted[which], delimiter);
    }
    fail_msg("no end of renaming");
}

static void all_have_what_they_want(const struct play *p) {
    for (size_t i = 0; i < p->n; i++)
        assert_string_equal(p->now[i], p->wanted[i]);
}

static void nothing_to_do(void **state) {
    (void)state;
    struct play p;
    play_begin(&p, (const char *const[][2]){{"A", "A"}, {"B", "B"}}, 2);
    play(&p, '/');
    assert_int_equal(p.steps, 0);
    play_begin(&p, NULL, 0);
    play(&p, '/');
}

static void chains_from_their_end(void **state) {
    (void)state;
    struct play p;
    play_begin(&p, (const char *const[][2]){{"A", "B"}, {"B", "C"}, {"C", "D"}, {"X", "X"}}, 4);
    play(&p, '/');
    all_have_what_they_want(&p);
    assert_true(p.steps == 3 && p.aside == 0);
}

static void circles_by_way_of_another_name(void **state) {
    (void)state;
    struct play p;
    play_begin(&p, (const char *const[][2]){{"A", "B"}, {"B", "A"}}, 2);
    play(&p, '\0');
    all_have_what_they_want(&p);
    assert_true(p.steps == 3 && p.aside == 1);
    play_begin(&p, (const char *const[][2]){{"A", "B"}, {"B", "C"}, {"C", "A"}, {"D", "A/x"}}, 4);
    play(&p, '\0');
    all_have_what_they_want(&p);
    assert_int_equal(p.aside, 1);
}

static void what_is_below_moves_along(void **state) {
    (void)state;
    struct play p;
    play_begin(
        &p, (const char *const[][2]){{"Work/Sub", "New/Sub"}, {"Work", "New"}, {"Workshop", "Workshop"}}, 3);
    play(&p, '/');
    all_have_what_they_want(&p);
    assert_int_equal(p.steps, 1);
    /* one stays behind: it goes back afterwards */
    play_begin(&p, (const char *const[][2]){{"Work/Sub", "Work/Sub"}, {"Work", "New"}}, 2);
    play(&p, '/');
    all_have_what_they_want(&p);
    /* without a hierarchy nothing moves along */
    play_begin(&p, (const char *const[][2]){{"Work/Sub", "New/Sub"}, {"Work", "New"}}, 2);
    play(&p, '\0');
    all_have_what_they_want(&p);
    assert_int_equal(p.steps, 2);
}

static void into_itself(void **state) {
    (void)state;
    struct play p;
    play_begin(&p, (const char *const[][2]){{"Work", "Work/Old"}, {"Sent", "Work"}}, 2);
    play(&p, '/');
    all_have_what_they_want(&p);
    play_begin(&p, (const char *const[][2]){{"Work", "Work/Sub"}, {"Work/Sub", "Work"}}, 2);
    play(&p, '/');
    all_have_what_they_want(&p);
}

static void waits_for_what_stays(void **state) {
    (void)state;
    struct play p;
    play_begin(&p, (const char *const[][2]){{"A", "B"}, {"B", "B"}, {"C", "A"}}, 3);
    play(&p, '/');
    assert_int_equal(p.steps, 0);
    assert_string_equal(p.now[0], "A");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_to_do),
        cmocka_unit_test(chains_from_their_end),
        cmocka_unit_test(circles_by_way_of_another_name),
        cmocka_unit_test(what_is_below_moves_along),
        cmocka_unit_test(into_itself),
        cmocka_unit_test(waits_for_what_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
