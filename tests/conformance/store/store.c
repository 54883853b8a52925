/*
 * What every database behind store.h must do. `conformance-store sqlite` makes a database of its own for each
 * test; another backend is another entry in `backends`.
 */
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/base/file.h"
#include "server-api/server/domain/audit.h"
#include "server-api/server/store/store_device.h"
#include "server-api/server/store/store_order.h"
#include "server-api/server/store/store_token.h"
#include "tests/unit/cm.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct backend {
    const char *name;
    void (*create)(char *url, size_t size); /* an empty database */
    void (*drop)(const char *url);
};

static void sqlite_create(char *url, size_t size) {
    char dir[] = "/tmp/satchel-store-XXXXXX";
    assert_non_null(mkdtemp(dir));
    (void)snprintf(url, size, "sqlite:%s/test.db", dir);
}

static void sqlite_drop(const char *url) {
    char path[256];
    (void)snprintf(path, sizeof path, "%s", url + strlen("sqlite:"));
    *strrchr(path, '/') = '\0';
    assert_int_equal(file_remove_tree(AT_FDCWD, path, NULL), 0);
}

static const struct backend backends[] = {{"sqlite", sqlite_create, sqlite_drop}};
static const struct backend *backend;

struct fixture {
    char url[256];
    struct store *store;
};

static int begin(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    backend->create(f->url, sizeof f->url);
    assert_int_equal(store_open(f->url, &f->store), 0);
    *state = f;
    return 0;
}

static int end(void **state) {
    struct fixture *f = *state;
    store_close(f->store);
    backend->drop(f->url);
    free(f);
    return 0;
}

static void reopen(struct fixture *f) {
    store_close(f->store);
    assert_int_equal(store_open(f->url, &f->store), 0);
}

static struct store_user user(const char *login) {
    struct store_user u = {.created_at = 5};
    (void)snprintf(u.login, sizeof u.login, "%s", login);
    (void)snprintf(u.address, sizeof u.address, "%s@acme.example", login);
    (void)snprintf(u.name, sizeof u.name, "%s O'Neil; DROP TABLE users --", login);
    return u;
}

static int add_user(struct store_tx *tx, void *arg) {
    struct store_user u = user(arg);
    return store_user_add(tx, &u);
}

static int add_user_and_fail(struct store_tx *tx, void *arg) {
    assert_int_equal(add_user(tx, arg), 0);
    return err_set(ERR_REFUSED, "no: %s", (const char *)arg);
}

static int add_and_answer(struct store_tx *tx, void *arg) {
    assert_int_equal(add_user(tx, arg), 0);
    return 7;
}

static int get_user(struct store_tx *tx, void *arg) {
    struct store_user u;
    int r = store_user_get(tx, arg, &u);
    if (r == 0) {
        struct store_user expected = user(arg);
        assert_string_equal(u.name, expected.name);
        assert_int_equal(u.created_at, 5);
    }
    return r;
}

#define LITERAL(text) ((void *)(uintptr_t)(text))

static void test_transactions(void **state) {
    struct fixture *f = *state;
    assert_int_equal(store_write(f->store, add_user, LITERAL("a")), 0);
    assert_int_equal(store_write(f->store, add_user, LITERAL("a")), STORE_EXISTS);
    assert_int_equal(store_write(f->store, add_user_and_fail, LITERAL("b")), ERR_REFUSED);
    assert_string_equal(err_text(), "no: b"); /* from the writer's thread */
    assert_int_equal(store_write(f->store, add_and_answer, LITERAL("c")), 7);
    assert_int_equal(store_read(f->store, get_user, LITERAL("a")), 0);
    assert_int_equal(store_read(f->store, get_user, LITERAL("b")), ERR_NOT_FOUND);
    reopen(f);
    assert_int_equal(store_read(f->store, get_user, LITERAL("a")), 0);
    assert_int_equal(store_read(f->store, get_user, LITERAL("c")), 0);
    assert_int_equal(store_read(f->store, add_user, LITERAL("d")), ERR_SYSTEM); /* readers cannot write */
    assert_int_equal(store_read(f->store, get_user, LITERAL("d")), ERR_NOT_FOUND);
}

#define WRITERS 8
#define WRITES 100

struct writer {
    struct store *store;
    int number;
};

/* Every third write fails: it must take nobody with it. */
static void *writer_run(void *arg) {
    struct writer *w = arg;
    for (int i = 0; i < WRITES; i++) {
        char login[32];
        (void)snprintf(login, sizeof login, "w%d-%d", w->number, i);
        int r = store_write(w->store, i % 3 == 2 ? add_user_and_fail : add_user, login);
        assert_int_equal(r, i % 3 == 2 ? ERR_REFUSED : 0);
        assert_int_equal(store_read(w->store, get_user, login), i % 3 == 2 ? ERR_NOT_FOUND : 0);
    }
    return NULL;
}

static int count_user(const struct store_user *u, void *arg) {
    (void)u;
    ++*(int *)arg;
    return 0;
}

static int count_users(struct store_tx *tx, void *arg) {
    return store_user_each(tx, "", 100000, count_user, arg);
}

static void test_group_commit(void **state) {
    struct fixture *f = *state;
    pthread_t threads[WRITERS];
    struct writer writers[WRITERS];
    struct store_counts before = store_counts(f->store);
    for (int i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){f->store, i};
        assert_int_equal(pthread_create(&threads[i], NULL, writer_run, &writers[i]), 0);
    }
    for (int i = 0; i < WRITERS; i++)
        (void)pthread_join(threads[i], NULL);
    struct store_counts after = store_counts(f->store);
    assert_int_equal(after.writes - before.writes, WRITERS * WRITES);
    assert_true(after.commits - before.commits < WRITERS * WRITES); /* several in one */
    int n = 0;
    reopen(f);
    assert_int_equal(store_read(f->store, count_users, &n), 0);
    assert_int_equal(n, WRITERS * (WRITES - WRITES / 3));
}

static int snapshot_body(struct store_tx *tx, void *arg) {
    struct fixture *f = arg;
    int before = 0, after = 0;
    assert_int_equal(count_users(tx, &before), 0);
    assert_int_equal(store_write(f->store, add_user, LITERAL("later")), 0);
    assert_int_equal(count_users(tx, &after), 0);
    assert_int_equal(before, after);
    return 0;
}

static void test_snapshot(void **state) {
    struct fixture *f = *state;
    assert_int_equal(store_read(f->store, snapshot_body, f), 0);
    assert_int_equal(store_read(f->store, get_user, LITERAL("later")), 0);
}

static int code_body(struct store_tx *tx, void *arg) {
    (void)arg;
    struct store_code code = {.id = "c1", .hash = "h1", .login = "a", .created_at = 1, .expires_at = 2}, back;
    assert_int_equal(store_code_add(tx, &code), 0);
    assert_int_equal(store_code_get(tx, "h1", &back), 0);
    assert_int_equal(back.used_at, 0);
    assert_int_equal(store_code_use(tx, "h1", 9), 0);
    assert_int_equal(store_code_use(tx, "h1", 10), ERR_NOT_FOUND);
    assert_int_equal(store_code_use(tx, "h2", 10), ERR_NOT_FOUND);
    assert_int_equal(store_code_get(tx, "h1", &back), 0);
    assert_int_equal(back.used_at, 9);
    assert_int_equal(store_code_prune(tx, 2), 0);
    assert_int_equal(store_code_get(tx, "h1", &back), 0);
    assert_int_equal(store_code_prune(tx, 3), 0);
    assert_int_equal(store_code_get(tx, "h1", &back), ERR_NOT_FOUND);
    return 0;
}

static int orphan_body(struct store_tx *tx, void *arg) {
    (void)arg;
    struct store_code code = {.id = "c9", .hash = "h9", .login = "nobody"};
    return store_code_add(tx, &code);
}

static void test_codes(void **state) {
    struct fixture *f = *state;
    assert_int_equal(store_write(f->store, add_user, LITERAL("a")), 0);
    assert_int_equal(store_write(f->store, code_body, NULL), 0);
    assert_int_equal(store_write(f->store, orphan_body, NULL), ERR_SYSTEM); /* foreign keys hold */
}

static int device_body(struct store_tx *tx, void *arg) {
    (void)arg;
    struct store_device d = {
        .id = "d1", .login = "a", .name = "Läp", .os = "os", .agent_version = "1", .enrolled_at = 3};
    assert_int_equal(store_device_add(tx, &d), 0);
    for (int64_t i = 1; i < 4; i++) {
        int64_t sequence;
        assert_int_equal(store_device_next_sequence(tx, "d1", &sequence), 0);
        assert_int_equal(sequence, i);
    }
    assert_int_equal(store_device_next_sequence(tx, "d2", &(int64_t){0}), ERR_NOT_FOUND);
    assert_int_equal(store_device_set_state(tx, "d1", DEVICE_WIPING), 0);
    assert_int_equal(store_device_set_report(tx, "d1", "os2", "2", "{}", 8), 0);
    assert_int_equal(store_device_set_seen(tx, "d1", 7), 0);
    cleanup(store_device) struct store_device back = {0};
    assert_int_equal(store_device_get(tx, "d1", &back), 0);
    assert_int_equal(back.state, DEVICE_WIPING);
    assert_string_equal(back.report, "{}");
    assert_int_equal(back.last_seen, 7);
    assert_int_equal(back.order_sequence, 3);
    int64_t counts[DEVICE_STATES];
    assert_int_equal(store_device_count(tx, counts), 0);
    assert_int_equal(counts[DEVICE_WIPING], 1);
    assert_int_equal(counts[DEVICE_ENROLLED], 0);
    return 0;
}

static int count_device(const struct store_device *d, void *arg) {
    assert_null(d->report);
    ++*(int *)arg;
    return 0;
}

/* Every state is kept; a deleted device is found by its id and in no list. */
static int states_body(struct store_tx *tx, void *arg) {
    (void)arg;
    for (int s = DEVICE_ENROLLED; s < DEVICE_STATES; s++) {
        cleanup(store_device) struct store_device back = {0};
        int listed = 0;
        assert_int_equal(store_device_set_state(tx, "d1", (enum device_state)s), 0);
        assert_int_equal(store_device_get(tx, "d1", &back), 0);
        assert_int_equal(back.state, s);
        assert_int_equal(store_device_each(tx, "", 10, count_device, &listed), 0);
        assert_int_equal(listed, s != DEVICE_DELETED);
    }
    return store_device_set_state(tx, "d1", DEVICE_ENROLLED);
}

static int count_pem(const char *pem, void *arg) {
    assert_string_equal(pem, "PEM2"); /* the one before ended with its first use */
    ++*(int *)arg;
    return 0;
}

static int certificate_body(struct store_tx *tx, void *arg) {
    (void)arg;
    struct store_certificate old = {.digest = "x1",
                                    .device = "d1",
                                    .issued_at = 1,
                                    .expires_at = 100,
                                    .first_used_at = 1},
                             new = {.digest = "x2", .device = "d1", .issued_at = 2, .expires_at = 200}, back;
    int64_t unused;
    assert_int_equal(store_certificate_add(tx, &old, "PEM1"), 0);
    assert_int_equal(store_certificate_add(tx, &new, "PEM2"), 0);
    assert_int_equal(store_certificate_unused(tx, "d1", &unused), 0);
    assert_int_equal(unused, 1);
    assert_int_equal(store_certificate_get(tx, "x1", &back), 0);
    assert_int_equal(back.revoked_at, 0);
    assert_int_equal(store_certificate_first_use(tx, &new, 50), 0);
    assert_int_equal(store_certificate_get(tx, "x1", &back), 0);
    assert_int_equal(back.revoked_at, 50);
    assert_int_equal(store_certificate_get(tx, "x2", &back), 0);
    assert_int_equal(back.first_used_at, 50);
    assert_int_equal(back.revoked_at, 0);
    int unrevoked = 0;
    assert_int_equal(store_certificate_each_unrevoked(tx, "d1", count_pem, &unrevoked), 0);
    assert_int_equal(unrevoked, 1);
    assert_int_equal(store_certificate_revoke_all(tx, "d1", 60), 0);
    assert_int_equal(store_certificate_get(tx, "x1", &back), 0);
    assert_int_equal(back.revoked_at, 50); /* the first time counts */
    assert_int_equal(store_certificate_get(tx, "x3", &back), ERR_NOT_FOUND);
    return 0;
}

static int count_order(const struct store_order *o, void *arg) {
    assert_string_equal(o->device, "d1");
    ++*(int *)arg;
    return 0;
}

/* Newest first. */
static int count_receipt(const struct store_receipt *r, void *arg) {
    int *n = arg;
    assert_string_equal(r->id, *n % 2 ? "r1" : "r2");
    assert_string_equal(r->order, *n % 2 ? "o1" : "");
    assert_string_equal(r->jws, *n % 2 ? "[1]" : "[3]");
    ++*n;
    return 0;
}

static int order_body(struct store_tx *tx, void *arg) {
    (void)arg;
    char jws[] = "{}", receipt[] = "[]";
    struct store_order o = {.id = "o1",
                            .device = "d1",
                            .sequence = 1,
                            .kind = "wipe",
                            .reason = "r",
                            .ordered_by = "x",
                            .ordered_at = 1,
                            .jws = jws};
    int open = 0, all = 0;
    assert_int_equal(store_order_add(tx, &o), 0);
    assert_int_equal(store_order_each_open(tx, "d1", count_order, &open), 0);
    assert_int_equal(open, 1);
    o.state = ORDER_DONE;
    o.finished_at = 9;
    o.receipt = receipt;
    assert_int_equal(store_order_update(tx, &o), 0);
    open = 0;
    assert_int_equal(store_order_each_open(tx, "d1", count_order, &open), 0);
    assert_int_equal(open, 0);
    assert_int_equal(store_order_each(tx, "d1", 0, 10, count_order, &all), 0);
    assert_int_equal(all, 1);
    cleanup(store_order) struct store_order back = {0};
    assert_int_equal(store_order_get(tx, "o1", &back), 0);
    assert_int_equal(back.state, ORDER_DONE);
    assert_int_equal(back.delivered_at, 0);
    assert_string_equal(back.receipt, "[]");
    assert_int_equal(store_receipt_add(tx, "d1", "r1", "o1", "[1]", 5), 0);
    assert_int_equal(store_receipt_add(tx, "d1", "r1", "o1", "[2]", 6), STORE_EXISTS);
    assert_int_equal(store_receipt_add(tx, "d1", "r2", NULL, "[3]", 7), 0);
    int64_t n;
    assert_int_equal(store_receipt_count(tx, "d1", "o1", &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(store_receipt_count(tx, "d1", NULL, &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(store_receipt_count(tx, "d2", NULL, &n), 0);
    assert_int_equal(n, 0);
    int listed = 0;
    assert_int_equal(store_receipt_each(tx, "d1", 10, count_receipt, &listed), 0);
    assert_int_equal(listed, 2);
    assert_int_equal(store_receipt_each(tx, "d1", 1, count_receipt, &listed), 0);
    assert_int_equal(listed, 3);
    assert_int_equal(store_order_last_done(tx, "d1", &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(store_order_last_done(tx, "d2", &n), 0);
    assert_int_equal(n, 0);
    o.state = ORDER_SUPERSEDED;
    assert_int_equal(store_order_update(tx, &o), 0);
    assert_int_equal(store_order_last_done(tx, "d1", &n), 0);
    assert_int_equal(n, 0);
    int64_t counts[ORDER_STATES];
    assert_int_equal(store_order_count(tx, counts), 0);
    assert_int_equal(counts[ORDER_SUPERSEDED], 1);
    return 0;
}

static int same_sequence_body(struct store_tx *tx, void *arg) {
    (void)arg;
    char jws[] = "{}";
    struct store_order o = {.id = "o2", .device = "d1", .sequence = 1, .kind = "wipe", .jws = jws};
    return store_order_add(tx, &o);
}

static void test_devices_and_orders(void **state) {
    struct fixture *f = *state;
    assert_int_equal(store_write(f->store, add_user, LITERAL("a")), 0);
    assert_int_equal(store_write(f->store, device_body, NULL), 0);
    assert_int_equal(store_write(f->store, states_body, NULL), 0);
    assert_int_equal(store_write(f->store, certificate_body, NULL), 0);
    assert_int_equal(store_write(f->store, order_body, NULL), 0);
    assert_int_equal(store_write(f->store, same_sequence_body, NULL), ERR_SYSTEM);
}

static int profile_body(struct store_tx *tx, void *arg) {
    char jws[] = "{}";
    struct store_profile p = {.version = *(int64_t *)arg, .id = "p", .published_at = 1, .jws = jws};
    return store_profile_add(tx, &p);
}

static int newest_profile(struct store_tx *tx, void *arg) {
    cleanup(store_profile) struct store_profile p = {0};
    int r = store_profile_get(tx, 0, &p);
    *(int64_t *)arg = p.version;
    return r;
}

static void test_profiles(void **state) {
    struct fixture *f = *state;
    int64_t version = 0;
    assert_int_equal(store_read(f->store, newest_profile, &version), ERR_NOT_FOUND);
    for (int64_t v = 1; v <= 12; v++)
        assert_int_equal(store_write(f->store, profile_body, &v), 0);
    assert_int_equal(store_write(f->store, profile_body, &(int64_t){12}), ERR_SYSTEM);
    assert_int_equal(store_read(f->store, newest_profile, &version), 0);
    assert_int_equal(version, 12); /* by number, not by text */
}

static int token_body(struct store_tx *tx, void *arg) {
    (void)arg;
    struct store_token t = {.id = "t1", .name = "n", .hash = "h1"},
                       same = {.id = "t2", .name = "n", .hash = "h2"}, back;
    assert_int_equal(store_token_add(tx, &t), 0);
    assert_int_equal(store_token_add(tx, &same), STORE_EXISTS);
    assert_int_equal(store_token_revoke(tx, "t1", 5), 0);
    assert_int_equal(store_token_revoke(tx, "t1", 6), ERR_NOT_FOUND);
    assert_int_equal(store_token_add(tx, &same), 0); /* the name is free again */
    assert_int_equal(store_token_get(tx, "h1", &back), 0);
    assert_int_equal(back.revoked_at, 5);
    return 0;
}

static void test_tokens(void **state) {
    struct fixture *f = *state;
    assert_int_equal(store_write(f->store, token_body, NULL), 0);
}

static int audit_body(struct store_tx *tx, void *arg) {
    int r = 0;
    for (int i = 0; i < 50 && r == 0; i++)
        r = audit_add(tx, "local:0", "test", arg, audit_detail("k", "v \"quoted\""));
    return r;
}

static void test_audit(void **state) {
    struct fixture *f = *state;
    struct audit_verdict verdict;
    assert_int_equal(audit_verify(f->store, &verdict), 0);
    assert_int_equal(verdict.entries, 0);
    for (int i = 0; i < 50; i++) /* more than a page of the verification */
        assert_int_equal(store_write(f->store, audit_body, LITERAL("sübject")), 0);
    assert_int_equal(audit_verify(f->store, &verdict), 0);
    assert_int_equal(verdict.entries, 2500);
    assert_int_equal(verdict.broken, 0);
    char head[STORE_HASH_SIZE];
    memcpy(head, verdict.head, sizeof head);
    reopen(f);
    assert_int_equal(audit_verify(f->store, &verdict), 0);
    assert_string_equal(verdict.head, head);
}

static void test_urls(void **state) {
    (void)state;
    struct store *s = NULL;
    assert_int_equal(store_open("postgresql://x/y", &s), ERR_REFUSED);
    assert_int_equal(store_open("", &s), ERR_REFUSED);
    assert_int_equal(store_open("sqlite:/nonexistent/x.db", &s), ERR_SYSTEM);
    assert_null(s);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(int argc, char **argv) {
    for (size_t i = 0; argc == 2 && i < sizeof backends / sizeof *backends; i++)
        if (strcmp(backends[i].name, argv[1]) == 0)
            backend = &backends[i];
    if (!backend) {
        (void)fprintf(stderr, "usage: conformance-store BACKEND\n");
        return 2;
    }
    const struct CMUnitTest tests[] = {
        TEST(test_transactions), TEST(test_group_commit), TEST(test_snapshot),
        TEST(test_codes),        TEST(test_profiles),     TEST(test_devices_and_orders),
        TEST(test_tokens),       TEST(test_audit),        cmocka_unit_test(test_urls)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
