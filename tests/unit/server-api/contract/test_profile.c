/* The mail profile: strict when it is published, lenient when it is received. */
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/base/json.h"
#include "server-api/contract/profile.h"
#include "tests/unit/cm.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static cJSON *profile(void) {
    static const char text[] =
        "{\"type\":\"profile\",\"id\":\"acme\",\"version\":2,\"organization\":{\"name\":\"Acme\"},"
        "\"account\":{\"id\":\"work\",\"address\":\"{user.address}\",\"name\":\"{user.name}\",\"login\":\"{"
        "user.login}\","
        "\"incoming\":{\"protocol\":\"imap\",\"host\":\"h\",\"port\":993,\"security\":\"tls\"},"
        "\"authentication\":\"password\"}}";
    cJSON *json = NULL;
    assert_int_equal(json_parse(text, strlen(text), &json), 0);
    return json;
}

/* Checks with `value` (JSON) in place of what `pointer` names; whether it is named as a problem. */
static bool problem_at(const char *pointer, const char *value, enum profile_check_mode mode) {
    cleanup(cJSON) cJSON *p = profile();
    char path[128], *save = NULL;
    (void)snprintf(path, sizeof path, "%s", pointer);
    cJSON *at = p;
    char *key = strtok_r(path, "/", &save), *next;
    while ((next = strtok_r(NULL, "/", &save))) {
        at = cJSON_GetObjectItemCaseSensitive(at, key);
        key = next;
    }
    cJSON_DeleteItemFromObjectCaseSensitive(at, key);
    if (value)
        assert_true(cJSON_AddItemToObject(at, key, cJSON_Parse(value)));
    struct profile_problems problems;
    int r = profile_check(p, mode, &problems);
    assert_int_equal(r, problems.n ? ERR_REFUSED : 0);
    for (size_t i = 0; i < problems.n; i++)
        if (strcmp(problems.items[i].pointer, pointer) == 0)
            return true;
    assert_int_equal(problems.n, 0);
    return false;
}

static void test_good(void **state) {
    (void)state;
    cleanup(cJSON) cJSON *p = profile();
    struct profile_problems problems;
    assert_int_equal(profile_check(p, PROFILE_PUBLISHED, &problems), 0);
    assert_int_equal(profile_version(p), 2);
    assert_int_equal(profile_check_in_seconds(p), 900);
}

static void test_refused_by_both(void **state) {
    (void)state;
    static const char *const cases[][2] = {{"/account/incoming/protocol", "\"pop3\""},
                                           {"/account/incoming/protocol", "\"POP\""},
                                           {"/account/incoming/security", "\"none\""},
                                           {"/account/incoming/port", "0"},
                                           {"/account/incoming/port", "65536"},
                                           {"/account/incoming/port", "\"993\""},
                                           {"/account/incoming/host", "\"a/b\""},
                                           {"/account/incoming/host", "\"\""},
                                           {"/account/incoming/ca", "\"x\""},
                                           {"/account/authentication", "\"none\""},
                                           {"/account/address", "\"{user.secret}\""},
                                           {"/account/name", "\"a\\u0007\""},
                                           {"/id", "\"A\""},
                                           {"/version", "0"},
                                           {"/version", "1.5"},
                                           {"/version", "1e300"},
                                           {"/type", "\"order\""},
                                           {"/account", "7"},
                                           {"/account/incoming", NULL},
                                           {"/organization/name", NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_true(problem_at(cases[i][0], cases[i][1], PROFILE_PUBLISHED));
        assert_true(problem_at(cases[i][0], cases[i][1], PROFILE_RECEIVED));
    }
}

static void test_unknown_keys(void **state) {
    (void)state;
    assert_true(problem_at("/color", "1", PROFILE_PUBLISHED));
    assert_false(problem_at("/color", "1", PROFILE_RECEIVED));
    assert_true(problem_at("/account/incoming/extra", "{}", PROFILE_PUBLISHED));
    assert_false(problem_at("/account/incoming/extra", "{}", PROFILE_RECEIVED));
    cleanup(cJSON) cJSON *p = profile();
    struct profile_problems problems;
    assert_int_equal(json_add_item(p, "critical", cJSON_Parse("[\"/color\"]")), 0);
    assert_int_equal(profile_check(p, PROFILE_RECEIVED, &problems), ERR_REFUSED);
    assert_string_equal(problems.items[0].pointer, "/critical/0");
}

static void test_expand(void **state) {
    (void)state;
    const struct profile_user user = {"anna", "a@x", "Anna {user.login}"};
    cleanup(free) char *text = profile_expand("<{user.name}> {user.address} {user.nothing}", &user);
    assert_string_equal(
        text, "<Anna {user.login}> a@x {user.nothing}"); /* what was filled in is not looked at again */
    cleanup(cJSON) cJSON *p = profile();
    cleanup(cJSON) cJSON *filled = profile_for_user(p, &user);
    assert_string_equal(json_str(json_object(filled, "account"), "login"), "anna");
    assert_string_equal(json_str(json_object(p, "account"), "login"), "{user.login}");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_good), cmocka_unit_test(test_refused_by_both),
                                       cmocka_unit_test(test_unknown_keys), cmocka_unit_test(test_expand)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
