/* What keyring.c does for every driver; the drivers themselves are in tests/conformance/keyring.c. */
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/keyring/keyring.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_kinds(void **state) {
    (void)state;
    struct keyring_kinds kinds = {0};
    for (int i = 0; i < KEYRING_ITEMS_MAX; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "kind-%d", i);
        assert_int_equal(keyring_kinds_add(&kinds, name), 0);
        assert_int_equal(keyring_kinds_add(&kinds, name), 0); /* each once */
        assert_int_equal(kinds.n, i + 1);
    }
    assert_int_equal(keyring_kinds_add(&kinds, "one-more"), ERR_TOO_LARGE);
    assert_int_equal(keyring_kinds_add(&kinds, "kind-0"), 0);
    assert_true(keyring_kinds_has(&kinds, "kind-63"));
    assert_false(keyring_kinds_has(&kinds, "one-more"));
    char overlong[KEYRING_KIND_MAX + 2];
    memset(overlong, 'a', sizeof overlong);
    overlong[sizeof overlong - 1] = '\0';
    struct keyring_kinds none = {0};
    assert_int_equal(keyring_kinds_add(&none, overlong), ERR_TOO_LARGE);
    assert_int_equal(none.n, 0);
}

/* A driver that fails half way must not show through. */

static int half_status(struct keyring *k, struct keyring_status *ret) {
    (void)k;
    *ret = (struct keyring_status){.available = true, .locked = true};
    return err_set(ERR_KEYRING, "the keyring went away");
}

static int half_list(struct keyring *k, struct keyring_kinds *ret) {
    (void)k;
    (void)keyring_kinds_add(ret, "half");
    return err_set(ERR_KEYRING, "the keyring went away");
}

static const struct keyring_driver half = {.name = "half", .status = half_status, .list = half_list};

static void test_outputs_are_untouched_on_failure(void **state) {
    (void)state;
    struct keyring k = {.driver = &half, .timeout_ms = 1};
    struct keyring_status status;
    keyring_status(&k, &status);
    assert_false(status.available || status.locked);
    assert_string_equal(err_text(), "the keyring went away");
    struct keyring_kinds kinds = {.n = 3};
    assert_int_equal(keyring_list(&k, &kinds), ERR_KEYRING);
    assert_int_equal(kinds.n, 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_outputs_are_untouched_on_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
