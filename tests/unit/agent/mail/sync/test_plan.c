#include "tests/unit/cm.h"

#include "agent/mail/imap/session.h"
#include "agent/mail/sync/plan.h"
#include "platform/base/cleanup.h"

#include <string.h>

/* Every combination of one flag: a side that changed since the base wins. */
static void three_way(void **state) {
    (void)state;
    for (unsigned base = 0; base < 2; base++)
        for (unsigned local = 0; local < 2; local++)
            for (unsigned remote = 0; remote < 2; remote++) {
                unsigned expected = local != base ? local : remote;
                for (unsigned bit = 0; bit < 32; bit++)
                    assert_int_equal(flags_merge(base << bit, local << bit, remote << bit, UINT32_MAX),
                                     expected << bit);
                assert_int_equal(flags_merge(base, local, remote, 0), remote);
            }
    assert_int_equal(flags_merge(IMAP_SEEN, IMAP_SEEN | IMAP_FLAGGED, IMAP_ANSWERED, 31),
                     IMAP_FLAGGED | IMAP_ANSWERED);
}

static int wanted_n;
static struct plan_action wanted[4];

static int want(void *ctx, const struct plan_action *action) {
    (void)ctx;
    wanted[wanted_n++ % 4] = *action;
    return 0;
}

struct world {
    struct plan_base base[4];
    struct plan_local local[4];
    struct plan_remote remote[4];
    struct plan_input in;
    struct plan plan;
};

static void world_cleanup(struct world *w) {
    plan_finish(&w->plan);
}

/* One message, -1: not on that side. */
static void world_make(struct world *w, int base, int local, int remote) {
    plan_finish(&w->plan);
    w->base[0] = (struct plan_base){.uid = 5, .flags = (uint32_t)base, .local = (uint32_t)base};
    w->local[0] = (struct plan_local){.uid = 5, .flags = (uint32_t)local};
    w->remote[0] = (struct plan_remote){.uid = 5, .flags = (uint32_t)remote};
    w->in.base = w->base;
    w->in.local = w->local;
    w->in.remote = w->remote;
    w->in.n_base = base >= 0;
    w->in.n_local = local >= 0;
    w->in.n_remote = remote >= 0;
    wanted_n = 0;
    assert_int_equal(plan_make(&w->in, want, NULL, &w->plan), 0);
}

static int kind(const struct world *w) {
    return w->plan.n ? (int)w->plan.actions[0].kind : wanted_n ? (int)wanted[0].kind : -1;
}

#define WORLD                                                                                                \
    {                                                                                                        \
        .in = {.remote_complete = true, .local_complete = true, .permanent = IMAP_FLAGS_ALL }                \
    }

static void where_messages_go(void **state) {
    (void)state;
    cleanup(world) struct world w = WORLD;
    world_make(&w, 0, 0, 0);
    assert_int_equal(kind(&w), -1);
    world_make(&w, -1, -1, 0);
    assert_int_equal(kind(&w), PLAN_WANT);
    world_make(&w, 0, -1, 0);
    assert_int_equal(kind(&w), PLAN_EXPUNGE);
    world_make(&w, 0, 0, -1);
    assert_int_equal(kind(&w), PLAN_UNLINK);
    world_make(&w, 0, -1, -1);
    assert_int_equal(kind(&w), PLAN_FORGET);
    world_make(&w, -1, 0, -1); /* brought back by a reader: a message of its own */
    assert_int_equal(kind(&w), PLAN_DETACH);
    world_make(&w, -1, 0, 0);
    assert_true(w.plan.n == 1 && wanted_n == 1);
    assert_int_equal(w.plan.actions[0].kind, PLAN_STRAY);
    assert_int_equal(wanted[0].kind, PLAN_WANT);
}

static void nothing_is_removed_on_doubt(void **state) {
    (void)state;
    cleanup(world) struct world w = WORLD;
    w.in.remote_complete = false;
    world_make(&w, 0, 0, -1);
    assert_int_equal(kind(&w), -1);
    world_make(&w, 0, -1, -1);
    assert_int_equal(kind(&w), -1);
    w.in.remote_complete = true;
    w.in.local_complete = false;
    world_make(&w, 0, -1, 0);
    assert_int_equal(kind(&w), -1);
    w.in.local_complete = true;
    w.in.read_only = true;
    world_make(&w, 0, -1, 0);
    assert_int_equal(kind(&w), -1);
    assert_false(plan_is_suspicious(10, 20));
    assert_true(plan_is_suspicious(11, 20));
    assert_false(plan_is_suspicious(19, 19));
}

static void flags_both_ways(void **state) {
    (void)state;
    cleanup(world) struct world w = WORLD;
    world_make(&w, IMAP_SEEN, IMAP_SEEN | IMAP_FLAGGED, IMAP_ANSWERED);
    const struct plan_action *a = w.plan.actions;
    assert_int_equal(a->kind, PLAN_FLAGS);
    assert_int_equal(a->local_flags, IMAP_FLAGGED | IMAP_ANSWERED);
    assert_int_equal(a->add, IMAP_FLAGGED);
    assert_int_equal(a->remove, 0);
    assert_int_equal(a->flags, IMAP_FLAGGED | IMAP_ANSWERED);
    world_make(&w, IMAP_SEEN, 0, IMAP_SEEN);
    assert_int_equal(w.plan.actions[0].remove, IMAP_SEEN);
    world_make(&w, 0, IMAP_SEEN, IMAP_SEEN); /* a crash after STORE: only the base is behind */
    a = w.plan.actions;
    assert_true(a->add == 0 && a->remove == 0 && a->local_flags == IMAP_SEEN && a->flags == IMAP_SEEN);
}

/* A flag that the server does not keep stays the reader's, is never sent, and leads to no endless work. */
static void flags_that_are_not_permanent(void **state) {
    (void)state;
    cleanup(world) struct world w = WORLD;
    w.in.permanent = IMAP_FLAGS_ALL & ~IMAP_FLAGGED;
    world_make(&w, 0, IMAP_FLAGGED, 0);
    assert_true(w.plan.n == 1 && w.plan.changes == 0 && w.plan.actions[0].flags == 0); /* only written down */
    w.base[0].local = IMAP_FLAGGED;
    plan_finish(&w.plan);
    assert_int_equal(plan_make(&w.in, want, NULL, &w.plan), 0);
    assert_int_equal(w.plan.n, 0);
    world_make(&w, 0, IMAP_FLAGGED | IMAP_SEEN, 0);
    assert_int_equal(w.plan.actions[0].add, IMAP_SEEN);
    assert_int_equal(w.plan.actions[0].local_flags, IMAP_FLAGGED | IMAP_SEEN);
    assert_int_equal(w.plan.actions[0].flags, IMAP_SEEN);
    w.in.read_only = true;
    world_make(&w, 0, IMAP_SEEN, IMAP_ANSWERED);
    assert_true(w.plan.actions[0].add == 0 && w.plan.actions[0].remove == 0);
    assert_int_equal(w.plan.actions[0].local_flags, IMAP_SEEN | IMAP_ANSWERED);
    world_make(&w, (int)w.plan.actions[0].flags, IMAP_SEEN | IMAP_ANSWERED, IMAP_ANSWERED);
    w.base[0].local = IMAP_SEEN | IMAP_ANSWERED;
    plan_finish(&w.plan);
    assert_int_equal(plan_make(&w.in, want, NULL, &w.plan), 0);
    assert_int_equal(w.plan.n, 0);
}

static void removed_but_not_expunged(void **state) {
    (void)state;
    cleanup(world) struct world w = WORLD;
    world_make(&w, IMAP_DELETED, -1, IMAP_DELETED);
    w.base[0].kind = PLAN_GONE;
    plan_finish(&w.plan);
    assert_int_equal(plan_make(&w.in, want, NULL, &w.plan), 0);
    assert_int_equal(kind(&w), -1);
    w.remote[0].flags = 0; /* somebody took it back */
    plan_finish(&w.plan);
    assert_int_equal(plan_make(&w.in, want, NULL, &w.plan), 0);
    assert_int_equal(kind(&w), PLAN_WANT);
    w.local[0] = (struct plan_local){.uid = 5};
    w.in.n_local = 1; /* and so did a reader */
    plan_finish(&w.plan);
    assert_int_equal(plan_make(&w.in, want, NULL, &w.plan), 0);
    assert_int_equal(w.plan.actions[0].kind, PLAN_FLAGS);
}

/* A deletion never wins over an edit. */
static void an_edit_becomes_a_message_of_its_own(void **state) {
    (void)state;
    cleanup(world) struct world w = WORLD;
    for (int remote = -1; remote < 1; remote++) {
        world_make(&w, 0, 0, remote);
        w.local[0].edited = true;
        plan_finish(&w.plan);
        assert_int_equal(plan_make(&w.in, want, NULL, &w.plan), 0);
        assert_int_equal(w.plan.n, 1);
        assert_int_equal(w.plan.actions[0].kind, PLAN_DETACH);
    }
}

static void what_is_not_in_the_copy(void **state) {
    (void)state;
    cleanup(world) struct world w = WORLD;
    w.in.keep_since = 1000;
    world_make(&w, -1, -1, 8);
    assert_int_equal(wanted[0].kind, PLAN_WANT); /* of no known date */
    w.remote[0].seconds = 999;
    wanted_n = 0;
    assert_int_equal(plan_make(&w.in, want, NULL, &w.plan), 0);
    assert_true(wanted[0].kind == PLAN_LEAVE && wanted[0].seconds == 999 && wanted[0].flags == 8);
    static const enum plan_message kinds[] = {PLAN_OLD, PLAN_WANTED};
    for (size_t i = 0; i < 2; i++) {
        world_make(&w, 8, -1, 8);
        w.base[0].kind = kinds[i];
        plan_finish(&w.plan);
        assert_int_equal(plan_make(&w.in, want, NULL, &w.plan), 0);
        assert_int_equal(kind(&w), -1);
        w.remote[0].flags = 9;
        plan_finish(&w.plan);
        assert_int_equal(plan_make(&w.in, want, NULL, &w.plan), 0);
        assert_int_equal(kind(&w), i ? PLAN_WANT : PLAN_LEAVE);
        w.in.n_remote = 0;
        assert_int_equal(plan_make(&w.in, want, NULL, &w.plan), 0);
        assert_int_equal(kind(&w), PLAN_FORGET);
    }
}

static void many_in_order(void **state) {
    (void)state;
    static const struct plan_base base[] = {{.uid = 1}, {.uid = 3}, {.uid = UINT32_MAX}};
    static const struct plan_local local[] = {{.uid = 1}, {.uid = 2}, {.uid = UINT32_MAX}};
    static const struct plan_remote remote[] = {{.uid = 1}, {.uid = 4}, {.uid = UINT32_MAX}};
    const struct plan_input in = {.base = base,
                                  .n_base = 3,
                                  .local = local,
                                  .n_local = 3,
                                  .remote = remote,
                                  .n_remote = 3,
                                  .remote_complete = true,
                                  .local_complete = true,
                                  .permanent = 31};
    cleanup(plan) struct plan plan = {0};
    wanted_n = 0;
    assert_int_equal(plan_make(&in, want, NULL, &plan), 0);
    assert_int_equal(plan.n, 2);
    assert_true(plan.actions[0].uid == 2 && plan.actions[0].kind == PLAN_DETACH);
    assert_true(plan.actions[1].uid == 3 && plan.actions[1].kind == PLAN_FORGET);
    assert_true(wanted_n == 1 && wanted[0].uid == 4 && wanted[0].kind == PLAN_WANT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_way),
        cmocka_unit_test(where_messages_go),
        cmocka_unit_test(nothing_is_removed_on_doubt),
        cmocka_unit_test(flags_both_ways),
        cmocka_unit_test(flags_that_are_not_permanent),
        cmocka_unit_test(removed_but_not_expunged),
        cmocka_unit_test(an_edit_becomes_a_message_of_its_own),
        cmocka_unit_test(what_is_not_in_the_copy),
        cmocka_unit_test(many_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
