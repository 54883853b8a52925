/*
 * What every keyring driver must do. `keyring memory` and `keyring libsecret` run the whole suite; `keyring
 * locked`, `keyring no-service` and `keyring silent` run what must hold for libsecret in a session where the
 * keyring is locked, missing or stopped (see tests/system/keyring.py), `keyring no-bus` where there is no
 * session at all.
 */
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/encode.h"
#include "platform/base/err.h"
#include "platform/keyring/keyring_memory.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct keyring_memory memory;
static struct keyring libsecret;
static struct keyring *k;

static void check_loaded(const char *kind, const void *expected, size_t n) {
    cleanup(buf) struct buf got = {0};
    assert_int_equal(keyring_load(k, kind, &got), 0);
    assert_true(got.secret);
    assert_int_equal(got.len, n);
    assert_memory_equal(got.data, expected, n);
}

static void test_status(void **state) {
    (void)state;
    struct keyring_status status;
    keyring_status(k, &status);
    assert_true(status.available);
    assert_false(status.locked);
}

static void test_store_load_replace_remove(void **state) {
    (void)state;
    static const char bytes[] = "a\0b\xff\n\x80 end";
    assert_int_equal(keyring_store(k, "vault-key", "Satchel: vault", bytes, sizeof bytes), 0);
    check_loaded("vault-key", bytes, sizeof bytes);
    assert_int_equal(keyring_store(k, "vault-key", "Satchel: vault", "x", 1), 0);
    check_loaded("vault-key", "x", 1);
    struct keyring_kinds kinds;
    assert_int_equal(keyring_list(k, &kinds), 0);
    assert_int_equal(kinds.n, 1);
    assert_int_equal(keyring_remove(k, "vault-key"), 0);
    assert_int_equal(keyring_remove(k, "vault-key"), KEYRING_NOTHING);
    struct buf got = {0};
    assert_int_equal(keyring_load(k, "vault-key", &got), ERR_NOT_FOUND);
    assert_null(got.data);
    assert_int_equal(keyring_list(k, &kinds), 0);
    assert_int_equal(kinds.n, 0);
}

static void test_kinds_are_apart(void **state) {
    (void)state;
    static const char *const names[] = {KEYRING_DEVICE_KEY, KEYRING_DEVICE_CERTIFICATE, KEYRING_VAULT_KEY,
                                        KEYRING_MAIL_CREDENTIAL};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(keyring_store(k, names[i], "Satchel", names[i], strlen(names[i])), 0);
    assert_int_equal(keyring_remove(k, KEYRING_VAULT_KEY), 0);
    struct keyring_kinds kinds;
    assert_int_equal(keyring_list(k, &kinds), 0);
    assert_int_equal(kinds.n, 3);
    assert_false(keyring_kinds_has(&kinds, KEYRING_VAULT_KEY));
    for (size_t i = 0; i < 4; i++) {
        if (i == 2)
            continue;
        assert_true(keyring_kinds_has(&kinds, names[i]));
        check_loaded(names[i], names[i], strlen(names[i]));
        assert_int_equal(keyring_remove(k, names[i]), 0);
    }
}

static void test_sizes(void **state) {
    (void)state;
    cleanup(free) char *large = malloc(KEYRING_SECRET_MAX + 1);
    assert_non_null(large);
    random_bytes(large, KEYRING_SECRET_MAX + 1);
    assert_int_equal(keyring_store(k, "device-key", "Satchel", large, KEYRING_SECRET_MAX), 0);
    check_loaded("device-key", large, KEYRING_SECRET_MAX);
    assert_int_equal(keyring_store(k, "device-key", "Satchel", large, KEYRING_SECRET_MAX + 1), ERR_INVALID);
    assert_int_equal(keyring_store(k, "device-key", "Satchel", large, 0), ERR_INVALID);
    check_loaded("device-key", large, KEYRING_SECRET_MAX);
    assert_int_equal(keyring_remove(k, "device-key"), 0);
}

static void test_bad_kinds(void **state) {
    (void)state;
    char overlong[KEYRING_KIND_MAX + 2];
    memset(overlong, 'a', sizeof overlong - 1);
    overlong[sizeof overlong - 1] = '\0';
    const char *const bad[] = {"", "Vault", "vault key", "../key", "kind\n", overlong};
    struct buf got = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(keyring_store(k, bad[i], "Satchel", "x", 1), ERR_INVALID);
        assert_int_equal(keyring_load(k, bad[i], &got), ERR_INVALID);
        assert_int_equal(keyring_remove(k, bad[i]), ERR_INVALID);
    }
    overlong[KEYRING_KIND_MAX] = '\0';
    assert_int_equal(keyring_store(k, overlong, "Satchel", "x", 1), 0);
    assert_int_equal(keyring_remove(k, overlong), 0);
}

/* An item somebody else put there under our attributes: never taken for a key, and removed as ours. */
static void test_rubbish_from_outside(void **state) {
    (void)state;
    if (k != &libsecret)
        skip();
    assert_int_equal(
        system("printf 'no base64url!' | secret-tool store --label=x application satchel kind vault-key"), 0);
    assert_int_equal(
        system("printf AAAA | secret-tool store --label=y application satchel kind vault-key other z"), 0);
    assert_int_equal(system("printf AAAA | secret-tool store --label=z application other kind vault-key"), 0);
    struct keyring_kinds kinds;
    assert_int_equal(keyring_list(k, &kinds), 0);
    assert_int_equal(kinds.n, 1);
    assert_int_equal(keyring_remove(k, "vault-key"), 0);
    assert_int_equal(
        system("printf 'no base64url!' | secret-tool store --label=x application satchel kind vault-key"), 0);
    struct buf got = {0};
    assert_int_equal(keyring_load(k, "vault-key", &got), ERR_INVALID);
    assert_null(got.data);
    assert_int_equal(keyring_remove(k, "vault-key"), 0);
    assert_int_equal(system("[ \"$(secret-tool lookup application other kind vault-key)\" = AAAA ]"), 0);
}

static void *store_in_thread(void *arg) {
    struct keyring own;
    keyring_libsecret_init(&own);
    for (int i = 0; i < 5; i++)
        if (keyring_store(&own, arg, "Satchel", arg, strlen(arg)) < 0)
            return arg;
    return NULL;
}

static void test_threads(void **state) {
    (void)state;
    if (k != &libsecret)
        skip();
    static char names[][4] = {"t-a", "t-b", "t-c"};
    pthread_t threads[3];
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, store_in_thread, names[i]), 0);
    for (size_t i = 0; i < 3; i++) {
        void *failed;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
        check_loaded(names[i], names[i], 3);
        assert_int_equal(keyring_remove(k, names[i]), 0);
    }
}

/* Faults. */

/* Every call fails with ERR_KEYRING and the words, within `ms`. */
static void check_all_fail(const char *words, int ms) {
    struct buf got = {0};
    struct keyring_kinds kinds = {.n = 7};
    int64_t start = clock_boot_ms();
    assert_int_equal(keyring_store(k, "vault-key", "Satchel", "x", 1), ERR_KEYRING);
    assert_non_null(strstr(err_text(), words));
    assert_int_equal(keyring_load(k, "vault-key", &got), ERR_KEYRING);
    assert_non_null(strstr(err_text(), words));
    assert_int_equal(keyring_remove(k, "vault-key"), ERR_KEYRING);
    assert_int_equal(keyring_list(k, &kinds), ERR_KEYRING);
    assert_non_null(strstr(err_text(), words));
    assert_int_equal(kinds.n, 7);
    assert_null(got.data);
    assert_in_range(clock_boot_ms() - start, 0, (unsigned)ms);
}

static void test_memory_faults(void **state) {
    (void)state;
    struct keyring_status status;
    memory.locked = true;
    keyring_status(k, &status);
    assert_true(status.available && status.locked);
    check_all_fail("locked", 1000);
    memory.missing = true;
    keyring_status(k, &status);
    assert_false(status.available || status.locked);
    check_all_fail("no keyring", 1000);
    memory.missing = memory.locked = false;
}

/* Within a time that shows that nobody was asked: there is no prompter here, and a prompt would wait for one.
 */
static void test_locked(void **state) {
    (void)state;
    struct keyring_status status;
    keyring_status(k, &status);
    assert_true(status.available);
    assert_true(status.locked);
    check_all_fail("The keyring is locked. Unlock it", 5000);
}

static void test_no_service(void **state) {
    (void)state;
    struct keyring_status status;
    keyring_status(k, &status);
    assert_false(status.available);
    check_all_fail("There is no keyring service", 5000);
}

static void test_no_bus(void **state) {
    (void)state;
    struct keyring_status status;
    assert_int_equal(unsetenv("XDG_RUNTIME_DIR"), 0);
    static const char *const addresses[] = {NULL, "", "autolaunch:"};
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        assert_int_equal(addresses[i] ? setenv("DBUS_SESSION_BUS_ADDRESS", addresses[i], 1)
                                      : unsetenv("DBUS_SESSION_BUS_ADDRESS"),
                         0);
        check_all_fail("There is no session bus", 1000);
        keyring_status(k, &status);
        assert_false(status.available);
    }
    static const char *const dead[] = {"unix:path=/nonexistent/bus", "rubbish",
                                       "unix:", "tcp:host=127.0.0.1,port=1"};
    for (size_t i = 0; i < sizeof dead / sizeof *dead; i++) {
        assert_int_equal(setenv("DBUS_SESSION_BUS_ADDRESS", dead[i], 1), 0);
        check_all_fail("The session bus cannot be reached", 5000);
    }
}

/* SIGSTOP for the process whose number is in the variable: it keeps its name and its sockets, and is silent.
 */
static void play_silent(const char *variable) {
    const char *number = getenv(variable);
    pid_t pid = (pid_t)strtol(number ? number : "", NULL, 10);
    assert_true(pid > 1);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    k->timeout_ms = 120;
    /* Often enough to show that the threads of earlier calls went away. */
    for (int i = 0; i < 3; i++)
        check_all_fail("The keyring does not answer", 4 * 1200);
    assert_int_equal(kill(pid, SIGCONT), 0);
    k->timeout_ms = KEYRING_TIMEOUT_MS;
    int r = ERR_KEYRING;
    for (int64_t deadline = clock_boot_ms() + 10000; r < 0 && clock_boot_ms() < deadline;)
        r = keyring_store(k, "vault-key", "Satchel", "back", 4);
    assert_int_equal(r, 0);
    check_loaded("vault-key", "back", 4);
    assert_int_equal(keyring_remove(k, "vault-key"), 0);
}

static void test_silent_service(void **state) {
    (void)state;
    play_silent("SATCHEL_TEST_KEYRING_PID");
}

static void test_silent_bus(void **state) {
    (void)state;
    play_silent("SATCHEL_TEST_BUS_PID");
}

int main(int argc, char **argv) {
    const struct CMUnitTest suite[] = {
        cmocka_unit_test(test_status),          cmocka_unit_test(test_store_load_replace_remove),
        cmocka_unit_test(test_kinds_are_apart), cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_bad_kinds),       cmocka_unit_test(test_rubbish_from_outside),
        cmocka_unit_test(test_threads),
    };
    const struct CMUnitTest memory_faults[] = {cmocka_unit_test(test_memory_faults)};
    const struct CMUnitTest locked[] = {cmocka_unit_test(test_locked)};
    const struct CMUnitTest no_service[] = {cmocka_unit_test(test_no_service)};
    const struct CMUnitTest no_bus[] = {cmocka_unit_test(test_no_bus)};
    const struct CMUnitTest silent[] = {cmocka_unit_test(test_silent_service),
                                        cmocka_unit_test(test_silent_bus)};
    const char *mode = argc == 2 ? argv[1] : "";
    keyring_memory_init(&memory);
    keyring_libsecret_init(&libsecret);
    k = strcmp(mode, "memory") == 0 ? &memory.keyring : &libsecret;
    int failed = -1;
    if (k == &memory.keyring)
        failed =
            cmocka_run_group_tests(suite, NULL, NULL) + cmocka_run_group_tests(memory_faults, NULL, NULL);
    else if (strcmp(mode, "libsecret") == 0)
        failed = cmocka_run_group_tests(suite, NULL, NULL);
    else if (strcmp(mode, "locked") == 0)
        failed = cmocka_run_group_tests(locked, NULL, NULL);
    else if (strcmp(mode, "no-service") == 0)
        failed = cmocka_run_group_tests(no_service, NULL, NULL);
    else if (strcmp(mode, "no-bus") == 0)
        failed = cmocka_run_group_tests(no_bus, NULL, NULL);
    else if (strcmp(mode, "silent") == 0)
        failed = cmocka_run_group_tests(silent, NULL, NULL);
    keyring_memory_finish(&memory);
    return failed ? 1 : 0;
}
