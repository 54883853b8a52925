/* CSV, texts, users, certificates. What needs a store is in the conformance suite and the system tests. */
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "server-api/server/domain/ca.h"
#include "server-api/server/domain/csv.h"
#include "server-api/server/domain/hash.h"
#include "server-api/server/domain/text.h"
#include "server-api/server/domain/user.h"
#include "tests/unit/cm.h"

#include <openssl/x509v3.h>
#include <string.h>

static void test_csv(void **state) {
    (void)state;
    static const char text[] = "\xef\xbb\xbf"
                               "a,b\r\n"
                               "\r\n"
                               "\"x, \"\"y\"\"\n2\",\r\n"
                               "bad\"quote,b\n"
                               "\"open\"x,b\n"
                               "1,2,3,4,5,6,7,8,9\n"
                               "last,one";
    cleanup(csv) struct csv c;
    csv_init(&c, text, sizeof text - 1);
    assert_int_equal(csv_next(&c), 1);
    assert_int_equal(c.n, 2);
    assert_string_equal(c.fields[0], "a");
    assert_string_equal(c.fields[1], "b");
    assert_int_equal(c.line, 1);
    assert_int_equal(csv_next(&c), 1);
    assert_int_equal(c.line, 3);
    assert_string_equal(c.fields[0], "x, \"y\"\n2");
    assert_string_equal(c.fields[1], "");
    assert_int_equal(csv_next(&c), ERR_INVALID);
    assert_int_equal(c.line, 5);
    assert_int_equal(csv_next(&c), ERR_INVALID);
    assert_int_equal(c.line, 6);
    assert_int_equal(csv_next(&c), ERR_INVALID);
    assert_int_equal(csv_next(&c), 1);
    assert_int_equal(c.line, 8);
    assert_string_equal(c.fields[1], "one");
    assert_int_equal(csv_next(&c), 0);
}

static void test_csv_ends(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int r;
    } cases[] = {{"", 0},  {"\n\n", 0}, {"\"", ERR_INVALID}, {"\"a", ERR_INVALID},
                 {"a", 1}, {",", 1},    {"\"\"", 1},         {"\r", 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cleanup(csv) struct csv c;
        csv_init(&c, cases[i].text, strlen(cases[i].text));
        assert_int_equal(csv_next(&c), cases[i].r);
        assert_int_equal(csv_next(&c), 0);
    }
}

static void test_text(void **state) {
    (void)state;
    static const char *const good[] = {"a", "Übung", "日本", "\xf0\x9f\x98\x80", "<script>"};
    static const char *const bad[] = {
        "",         "a\n",          "\x1b[2J",      "\x7f",     "\xc0\x80",
        "\xff",     "\xed\xa0\x80", "\xe2\x80\xae", "\xc2\x85", "\xf4\x90\x80\x80",
        "\xe2\x82", "\xe2\x80\xa8", "\xe2\x81\xa6"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_int_equal(text_check("x", good[i], 16), 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(text_check("x", bad[i], 16), ERR_INVALID);
    assert_int_equal(text_check("x", "12345", 5), 0);
    assert_int_equal(text_check("x", "123456", 5), ERR_INVALID);
}

static void test_user(void **state) {
    (void)state;
    struct store_user user;
    assert_int_equal(user_make("anna.ott+x_1-2@acme", "a.b+c@acme.example", "Anna", &user), 0);
    assert_string_equal(user.address, "a.b+c@acme.example");
    static const char *const bad[][3] = {{"a b", "a@b", "N"}, {"a/b", "a@b", "N"}, {"a", "a", "N"},
                                         {"a", "a@b@c", "N"}, {"a", "@b", "N"},    {"a", "a@", "N"},
                                         {"a", "a@b,c", "N"}, {"ä", "a@b", "N"},   {"a", "a@b", "N\r\n"},
                                         {"a", "<a@b>", "N"}, {"", "a@b", "N"},    {"a", "", "N"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(user_make(bad[i][0], bad[i][1], bad[i][2], &user), ERR_INVALID);
}

static void test_hash(void **state) {
    (void)state;
    char hash[STORE_HASH_SIZE];
    hash_text("abc", hash);
    assert_string_equal(hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void test_ca(void **state) {
    (void)state;
    cleanup(EVP_PKEY) EVP_PKEY *root_key = key_generate();
    cleanup(EVP_PKEY) EVP_PKEY *other_key = key_generate();
    cleanup(EVP_PKEY) EVP_PKEY *key = key_generate();
    cleanup(X509) X509 *root = ca_root(root_key, "Acme");
    cleanup(X509) X509 *other = ca_root(other_key, "Acme"); /* the same name, another key */
    int64_t now = clock_real_ms(), day = INT64_C(86400000);
    cleanup(X509) X509 *device = ca_device(root, root_key, key, "Acme", "d1", 86400);
    assert_int_equal(cert_verify_client(device, root, now), 0);
    assert_int_equal(cert_verify_client(device, other, now), ERR_SIGNATURE);
    assert_int_equal(cert_verify_client(device, root, now + 2 * day), ERR_SIGNATURE);
    assert_int_equal(cert_verify_client(device, root, now - day), ERR_SIGNATURE);
    assert_int_equal(cert_verify_client(device, root, 0), 0); /* without its dates */
    assert_true(cert_not_after(device) > now && cert_not_before(device) <= now);
    cleanup(X509) X509 *server = ca_server(root, root_key, key, "satchel.acme.example");
    assert_int_equal(cert_verify_client(server, root, now), ERR_SIGNATURE);
    assert_int_equal(X509_check_host(server, "satchel.acme.example", 0, 0, NULL), 1);
    assert_int_equal(X509_check_host(server, "localhost", 0, 0, NULL), 1);
    assert_int_equal(X509_check_ip_asc(server, "::1", 0), 1);
    assert_int_equal(X509_check_host(server, "evil.example", 0, 0, NULL), 0);
    assert_null(ca_server(root, root_key, key, "a,DNS:evil.example"));
    cleanup(X509) X509 *by_device = ca_device(device, key, other_key, "Acme", "d2", 86400);
    assert_int_equal(cert_verify_client(by_device, root, now), ERR_SIGNATURE);
    assert_int_equal(X509_check_ca(root), 1);
    assert_int_equal(X509_check_ca(device), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_csv),  cmocka_unit_test(test_csv_ends),
                                       cmocka_unit_test(test_text), cmocka_unit_test(test_user),
                                       cmocka_unit_test(test_hash), cmocka_unit_test(test_ca)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
