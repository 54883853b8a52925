#include "tests/unit/cm.h"

#include "agent/mail/sync/account.h"
#include "platform/base/err.h"
#include "platform/base/json.h"

#include <string.h>

static int parse(const char *text, struct account **ret) {
    cleanup(cJSON) cJSON *json = cJSON_Parse(text);
    assert_non_null(json);
    return account_parse(json, ret);
}

static void good(void **state) {
    (void)state;
    struct account *a = NULL;
    assert_int_equal(parse("{\"host\":\"imap.acme.example\",\"port\":993,\"security\":\"starttls\",\"login\":"
                           "\"anna\",\"password\":\"s\",\"ca\":\"PEM\"}",
                           &a),
                     0);
    assert_string_equal(a->endpoint.host, "imap.acme.example");
    assert_string_equal(a->endpoint.ca, "PEM");
    assert_true(a->endpoint.starttls && a->endpoint.port == 993);
    account_destroy(a);
}

static void bad(void **state) {
    (void)state;
    static const char *const texts[] = {
        "{}",
        "[]",
        "{\"host\":\"h\",\"port\":993,\"security\":\"none\",\"login\":\"a\",\"password\":\"s\"}",
        "{\"host\":\"h\",\"port\":0,\"security\":\"tls\",\"login\":\"a\",\"password\":\"s\"}",
        "{\"host\":\"h\",\"port\":65536,\"security\":\"tls\",\"login\":\"a\",\"password\":\"s\"}",
        "{\"host\":\"h\\nx\",\"port\":993,\"security\":\"tls\",\"login\":\"a\",\"password\":\"s\"}",
        "{\"host\":\"h\",\"port\":993,\"security\":\"tls\",\"login\":\"a\",\"password\":\"s\\r\\nx\"}",
        "{\"host\":\"h\",\"port\":993,\"security\":\"tls\",\"login\":\"a\",\"password\":\"\"}",
        "{\"host\":7,\"port\":993,\"security\":\"tls\",\"login\":\"a\",\"password\":\"s\"}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct account *a = NULL;
        assert_int_equal(parse(texts[i], &a), ERR_INVALID);
        assert_null(a);
        assert_null(strstr(err_text(), "s\r"));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(good), cmocka_unit_test(bad)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
