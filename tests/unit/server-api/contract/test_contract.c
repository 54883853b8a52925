/* Keys, JWS, trust, links, orders, receipts: what must hold, and what must be refused. */
#include "platform/base/cleanup.h"
#include "platform/base/encode.h"
#include "platform/base/err.h"
#include "platform/base/json.h"
#include "server-api/contract/cert.h"
#include "server-api/contract/jws.h"
#include "server-api/contract/link.h"
#include "server-api/contract/order.h"
#include "server-api/contract/receipt.h"
#include "server-api/contract/report.h"
#include "server-api/contract/stamp.h"
#include "server-api/contract/trust.h"
#include "tests/unit/cm.h"

#include <stdio.h>
#include <string.h>

static EVP_PKEY *one, *two;

static int make_keys(void **state) {
    (void)state;
    one = key_generate();
    two = key_generate();
    return one && two ? 0 : -1;
}

static int drop_keys(void **state) {
    (void)state;
    EVP_PKEY_free(one);
    EVP_PKEY_free(two);
    return 0;
}

static cJSON *parse(const char *text) {
    cJSON *json = NULL;
    assert_int_equal(json_parse(text, strlen(text), &json), 0);
    return json;
}

static cJSON *sign(const char *payload, const char *type, EVP_PKEY *const *keys, size_t n) {
    cleanup(cJSON) cJSON *json = parse(payload);
    cJSON *jws = jws_sign(json, type, keys, n);
    assert_non_null(jws);
    return jws;
}

static int verify(const cJSON *jws, const char *type, size_t threshold) {
    char kid1[KEY_FINGERPRINT_SIZE], kid2[KEY_FINGERPRINT_SIZE];
    assert_int_equal(key_fingerprint(one, kid1), 0);
    assert_int_equal(key_fingerprint(two, kid2), 0);
    const struct jws_key keys[] = {{kid1, one}, {kid2, two}};
    cleanup(cJSON) cJSON *payload = NULL;
    int r = jws_verify(jws, type, keys, 2, threshold, &payload);
    assert_true((r == 0) == (payload != NULL));
    return r;
}

static void test_key(void **state) {
    (void)state;
    cleanup(buf) struct buf pem = {.secret = true}, spki = {0};
    assert_int_equal(key_private_pem(one, &pem), 0);
    cleanup(EVP_PKEY) EVP_PKEY *again = key_from_private_pem(pem.data, pem.len);
    assert_int_equal(EVP_PKEY_eq(one, again), 1);
    assert_int_equal(key_spki(one, &spki), 0);
    cleanup(EVP_PKEY) EVP_PKEY *public = key_from_spki(spki.data, spki.len);
    unsigned char signature[KEY_SIGNATURE_SIZE];
    assert_int_equal(key_sign(one, "text", 4, signature), 0);
    assert_int_equal(key_verify(public, "text", 4, signature), 0);
    assert_int_equal(key_verify(public, "test", 4, signature), ERR_SIGNATURE);
    assert_int_equal(key_verify(two, "text", 4, signature), ERR_SIGNATURE);
    memset(signature, 0, sizeof signature);
    assert_int_equal(key_verify(public, "text", 4, signature), ERR_SIGNATURE);
    memset(signature, 0xff, sizeof signature);
    assert_int_equal(key_verify(public, "text", 4, signature), ERR_SIGNATURE);
    assert_int_equal(buf_add(&spki, "x", 1), 0);
    assert_null(key_from_spki(spki.data, spki.len));
    assert_null(key_from_private_pem("x", 1));
    cleanup(EVP_PKEY) EVP_PKEY *other = EVP_EC_gen("P-384");
    cleanup(buf) struct buf wrong = {0};
    assert_int_equal(key_spki(other, &wrong), 0);
    assert_null(key_from_spki(wrong.data, wrong.len));
}

static void test_jws(void **state) {
    (void)state;
    cleanup(cJSON) cJSON *jws = sign("{\"a\":1}", JWS_TYPE_ORDER, &one, 1);
    assert_int_equal(verify(jws, JWS_TYPE_ORDER, 1), 0);
    assert_int_equal(verify(jws, JWS_TYPE_PROFILE, 1), ERR_SIGNATURE);
    assert_int_equal(verify(jws, JWS_TYPE_ORDER, 2), ERR_SIGNATURE);
    assert_int_equal(verify(jws, JWS_TYPE_ORDER, 0), ERR_SIGNATURE);
    cleanup(cJSON) cJSON *stranger_key = NULL;
    cleanup(EVP_PKEY) EVP_PKEY *three = key_generate();
    stranger_key = sign("{\"a\":1}", JWS_TYPE_ORDER, &three, 1);
    assert_int_equal(verify(stranger_key, JWS_TYPE_ORDER, 1), ERR_SIGNATURE);
    cleanup(cJSON) cJSON *none = parse("{\"payload\":\"e30\",\"signatures\":[]}");
    assert_int_equal(verify(none, JWS_TYPE_ORDER, 1), ERR_SIGNATURE);
    cleanup(cJSON) cJSON *no_jws = parse("{\"payload\":{},\"signatures\":[]}");
    assert_int_equal(verify(no_jws, JWS_TYPE_ORDER, 1), ERR_INVALID);
}

static void test_jws_threshold(void **state) {
    (void)state;
    EVP_PKEY *const both[] = {one, two}, *const same[] = {one, one};
    cleanup(cJSON) cJSON *two_signatures = sign("{}", JWS_TYPE_ORDER, both, 2);
    assert_int_equal(verify(two_signatures, JWS_TYPE_ORDER, 2), 0);
    cleanup(cJSON) cJSON *twice = sign("{}", JWS_TYPE_ORDER, same, 2);
    assert_int_equal(verify(twice, JWS_TYPE_ORDER, 1), 0);
    assert_int_equal(verify(twice, JWS_TYPE_ORDER, 2), ERR_SIGNATURE);
    /* a good signature does not make up for a damaged one */
    cJSON *second = cJSON_GetArrayItem(cJSON_GetObjectItem(two_signatures, "signatures"), 1);
    assert_int_equal(json_set_str(second, "signature", "AAAA"), 0);
    assert_int_equal(verify(two_signatures, JWS_TYPE_ORDER, 1), ERR_SIGNATURE);
}

static void test_jws_tampered(void **state) {
    (void)state;
    cleanup(cJSON) cJSON *jws = sign("{\"a\":1}", JWS_TYPE_ORDER, &one, 1);
    cleanup(cJSON) cJSON *payload = cJSON_Duplicate(jws, true);
    cleanup(free) char *other = encode_base64url("{\"a\":2}", 7);
    assert_int_equal(json_set_str(payload, "payload", other), 0);
    assert_int_equal(verify(payload, JWS_TYPE_ORDER, 1), ERR_SIGNATURE);
    char kid[KEY_FINGERPRINT_SIZE], header[300];
    assert_int_equal(key_fingerprint(one, kid), 0);
    static const char *const headers[] = {
        "{\"alg\":\"none\",\"kid\":\"%s\",\"typ\":\"satchel-order\"}",
        "{\"alg\":\"HS256\",\"kid\":\"%s\",\"typ\":\"satchel-order\"}",
        "{\"alg\":\"ES256\",\"kid\":\"%s\",\"typ\":\"satchel-order\",\"b64\":false}",
        "{\"alg\":\"ES256\",\"kid\":\"%s\"}"};
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        cleanup(cJSON) cJSON *changed = cJSON_Duplicate(jws, true);
        cJSON *signature = cJSON_GetObjectItem(changed, "signatures")->child;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        (void)snprintf(header, sizeof header, headers[i], kid);
#pragma GCC diagnostic pop
        cleanup(free) char *encoded = encode_base64url(header, strlen(header));
        assert_int_equal(json_set_str(signature, "protected", encoded), 0);
        assert_int_equal(verify(changed, JWS_TYPE_ORDER, 1), ERR_SIGNATURE);
    }
    cleanup(cJSON) cJSON *unprotected = cJSON_Duplicate(jws, true);
    cJSON *signature = cJSON_GetObjectItem(unprotected, "signatures")->child;
    assert_int_equal(json_add_item(signature, "header", cJSON_CreateObject()), 0);
    assert_int_equal(verify(unprotected, JWS_TYPE_ORDER, 1), ERR_SIGNATURE);
}

static void test_trust(void **state) {
    (void)state;
    cleanup(cJSON) cJSON *payload = trust_make(3, "Acme", two);
    cleanup(cJSON) cJSON *jws = jws_sign(payload, JWS_TYPE_TRUST, &one, 1);
    cleanup(trust) struct trust t = {0};
    assert_int_equal(trust_open(jws, one, &t), 0);
    assert_int_equal(t.version, 3);
    assert_string_equal(t.organization, "Acme");
    struct trust no;
    assert_int_equal(trust_open(jws, two, &no), ERR_SIGNATURE);
    cleanup(cJSON) cJSON *good = sign("{\"x\":1}", JWS_TYPE_PROFILE, &two, 1), *out = NULL;
    assert_int_equal(trust_verify(&t, TRUST_PROFILE, good, &out), 0);
    cleanup(cJSON) cJSON *by_root = sign("{\"x\":1}", JWS_TYPE_PROFILE, &one, 1), *none = NULL;
    assert_int_equal(trust_verify(&t, TRUST_PROFILE, by_root, &none), ERR_SIGNATURE);
    assert_int_equal(trust_verify(&t, TRUST_ORDER, good, &none), ERR_SIGNATURE);
    /* a threshold that nobody can reach, a key under another's name */
    cJSON *order = cJSON_GetObjectItem(cJSON_GetObjectItem(payload, "thresholds"), "order");
    cJSON_SetNumberValue(order, 2);
    cleanup(cJSON) cJSON *high = jws_sign(payload, JWS_TYPE_TRUST, &one, 1);
    assert_int_equal(trust_open(high, one, &no), ERR_INVALID);
    cJSON_SetNumberValue(order, 1);
    char kid[KEY_FINGERPRINT_SIZE];
    assert_int_equal(key_fingerprint(one, kid), 0);
    assert_int_equal(json_set_str(cJSON_GetObjectItem(payload, "keys")->child, "kid", kid), 0);
    cleanup(cJSON) cJSON *renamed = jws_sign(payload, JWS_TYPE_TRUST, &one, 1);
    assert_int_equal(trust_open(renamed, one, &no), ERR_INVALID);
}

#define CODE "abcdefghijklmnopqrstuvwxyz012345"
#define PRINT "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopq"

static void test_link(void **state) {
    (void)state;
    static const char *const good[] = {"https://a.example:8443/enroll/" CODE "#" PRINT,
                                       "https://127.0.0.1/enroll/" CODE "#" PRINT,
                                       "https://[::1]:1/enroll/" CODE "#" PRINT};
    static const char *const bad[] = {"",
                                      "http://a.example/enroll/" CODE "#" PRINT,
                                      "https:///enroll/" CODE "#" PRINT,
                                      "https://a.example:0/enroll/" CODE "#" PRINT,
                                      "https://a.example:65536/enroll/" CODE "#" PRINT,
                                      "https://a.example:80x/enroll/" CODE "#" PRINT,
                                      "https://user@a.example/enroll/" CODE "#" PRINT,
                                      "https://a.example/x/enroll/" CODE "#" PRINT,
                                      "https://a.example/enroll/" CODE,
                                      "https://a.example/enroll/" CODE "#",
                                      "https://a.example/enroll/" CODE "x#" PRINT,
                                      "https://a.example/enroll/" CODE "#" PRINT "x",
                                      "https://a.example/enroll/" CODE "?x#" PRINT,
                                      "https://[::1/enroll/" CODE "#" PRINT};
    struct link l;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(link_parse(good[i], &l), 0);
        assert_string_equal(l.code, CODE);
        assert_string_equal(l.fingerprint, PRINT);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(link_parse(bad[i], &l), ERR_REFUSED);
}

static void test_order(void **state) {
    (void)state;
    struct order o = {
        .id = "o", .device = "d", .kind = ORDER_WIPE, .sequence = 4, .reason = "lost", .ordered_at = 1000};
    struct order back;
    cleanup(cJSON) cJSON *payload = order_make(&o);
    assert_int_equal(order_read(payload, &back), 0);
    assert_int_equal(back.sequence, 4);
    assert_int_equal(back.ordered_at, 1000);
    assert_string_equal(back.device, "d");
    assert_int_equal(json_set_str(payload, "kind", "explode"), 0);
    assert_int_equal(order_read(payload, &back), ERR_REFUSED);
    assert_int_equal(json_set_str(payload, "kind", "wipe"), 0);
    assert_int_equal(json_set_str(payload, "type", "profile"), 0);
    assert_int_equal(order_read(payload, &back), ERR_INVALID);
}

static int open_receipt(const char *outcome, EVP_PKEY *key, const char *device) {
    cleanup(cJSON) cJSON *json = parse(outcome);
    const struct receipt_about about = {
        .id = "r1", .order = "o1", .cause = "order", .kind = "wipe", .device = "d1"};
    cleanup(cJSON) cJSON *jws = receipt_make(json, &about, one), *payload = NULL;
    enum receipt_result result;
    return receipt_open(jws, key, device, &result, &payload);
}

static void test_receipt(void **state) {
    (void)state;
    const char *good = "{\"result\":\"done\",\"steps\":[{\"outcome\":\"done\"}],\"checked\":[{\"found\":0}]}";
    assert_int_equal(open_receipt(good, one, "d1"), 0);
    assert_int_equal(open_receipt(good, two, "d1"), ERR_SIGNATURE);
    assert_int_equal(open_receipt(good, one, "d2"), ERR_INVALID);
    static const char *const bad[] = {
        "{\"result\":\"done\"}",
        "{\"result\":\"done\",\"steps\":[],\"checked\":[]}",
        "{\"result\":\"done\",\"steps\":[{\"outcome\":\"failed\"}],\"checked\":[{\"found\":0}]}",
        "{\"result\":\"done\",\"steps\":[{\"outcome\":\"done\"}],\"checked\":[{\"found\":1}]}",
        "{\"result\":\"done\",\"steps\":[{\"outcome\":\"done\"}],\"checked\":[{}]}",
        "{\"result\":\"maybe\"}",
        "{}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(open_receipt(bad[i], one, "d1"), ERR_INVALID);
    assert_int_equal(open_receipt("{\"result\":\"failed\"}", one, "d1"), 0);
}

static void test_request(void **state) {
    (void)state;
    cleanup(buf) struct buf pem = {0};
    assert_int_equal(cert_request(one, &pem), 0);
    cleanup(EVP_PKEY) EVP_PKEY *key = cert_request_key(pem.data, pem.len);
    assert_int_equal(EVP_PKEY_eq(key, one), 1);
    assert_null(cert_request_key("", 0));
    assert_null(cert_request_key(pem.data, pem.len / 2));
    assert_null(cert_from_pem(pem.data, pem.len));
}

/* A trust document that names `one` for time or not, beside `two` for everything else. */
static void open_trust(bool time, struct trust *ret) {
    cleanup(cJSON) cJSON *payload = trust_make(1, "Acme", two);
    cJSON *keys = cJSON_GetObjectItem(payload, "keys");
    cleanup(cJSON) cJSON *other = trust_make(1, "Acme", one);
    cJSON *key = cJSON_DetachItemFromArray(cJSON_GetObjectItem(other, "keys"), 0);
    static const char *const for_time[] = {"time"}, *const for_documents[] = {"profile", "order"};
    cJSON_ReplaceItemInObject(key, "uses", cJSON_CreateStringArray(for_time, 1));
    cJSON_ReplaceItemInObject(cJSON_GetArrayItem(keys, 0), "uses", cJSON_CreateStringArray(for_documents, 2));
    if (time)
        cJSON_AddItemToArray(keys, key);
    else
        cJSON_Delete(key);
    if (!time)
        cJSON_DeleteItemFromObject(cJSON_GetObjectItem(payload, "thresholds"), "time");
    cleanup(cJSON) cJSON *jws = jws_sign(payload, JWS_TYPE_TRUST, &one, 1);
    assert_int_equal(trust_open(jws, one, ret), 0);
}

static void test_stamp(void **state) {
    (void)state;
    struct trust named, unnamed;
    int64_t ms = -1;
    open_trust(true, &named);
    open_trust(false, &unnamed);
    char *by_one = stamp_make(1764064800123, one), *by_two = stamp_make(1764064800123, two);
    assert_int_equal(stamp_open(&named, by_one, &ms), 0);
    assert_int_equal(ms, 1764064800123);
    assert_int_equal(stamp_open(&named, by_two, &ms), ERR_SIGNATURE); /* it may sign orders, not the time */
    assert_int_equal(stamp_open(&unnamed, by_two, &ms), 0);           /* where no key is for time */
    assert_int_equal(stamp_open(&unnamed, by_one, &ms), ERR_SIGNATURE);
    size_t n = strlen(by_one);
    assert_true(n < STAMP_MAX);
    for (size_t i = 0; i < n; i += 7) { /* any change of any part */
        char kept = by_one[i];
        by_one[i] = kept == 'A' ? 'B' : 'A';
        assert_true(stamp_open(&named, by_one, &ms) < 0);
        by_one[i] = kept;
    }
    static const char *const bad[] = {"", ".", "..", "a.b", "a.b.c", "a.b.c.d", "...", "\xff.\xff.\xff"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_true(stamp_open(&named, bad[i], &ms) < 0);
    free(by_one);
    free(by_two);
    trust_finish(&named);
    trust_finish(&unnamed);
}

/* An order by the same key is no stamp, and the other way round. */
static void test_stamp_is_of_its_kind(void **state) {
    (void)state;
    struct trust trust;
    int64_t ms;
    open_trust(false, &trust);
    cleanup(cJSON) cJSON *payload = parse("{\"type\":\"time\",\"time\":\"2026-11-25T10:00:00.000Z\"}");
    cleanup(cJSON) cJSON *jws = jws_sign(payload, JWS_TYPE_ORDER, &two, 1);
    const cJSON *signature = json_array(jws, "signatures")->child;
    char text[1024];
    (void)snprintf(text, sizeof text, "%s.%s.%s", json_str(signature, "protected"), json_str(jws, "payload"),
                   json_str(signature, "signature"));
    assert_int_equal(stamp_open(&trust, text, &ms), ERR_SIGNATURE);
    trust_finish(&trust);
}

static int normalize(const char *text, cJSON **ret) {
    cleanup(cJSON) cJSON *json = parse(text);
    return report_normalize(json, ret);
}

static void test_report(void **state) {
    (void)state;
    cJSON *kept = NULL;
    assert_int_equal(
        normalize("{\"os\":\"x\",\"profile\":{\"version\":3,\"secret\":\"y\"},\"vault\":null,\"mail\":[1],"
                  "\"keyring\":{\"locked\":false,\"available\":null}}",
                  &kept),
        0);
    cleanup(cJSON) cJSON *expected =
        parse("{\"os\":\"x\",\"profile\":{\"version\":3},\"keyring\":{\"locked\":false}}");
    assert_true(cJSON_Compare(kept, expected, true));
    cJSON_Delete(kept);
    static const char *const bad[] = {"{\"os\":7}",
                                      "{\"os\":\"a\\u0007b\"}",
                                      "{\"os\":\"a\\u202eb\"}",
                                      "{\"vault\":[]}",
                                      "{\"vault\":{\"open\":\"yes\"}}",
                                      "{\"profile\":{\"version\":-1}}",
                                      "{\"profile\":{\"version\":1e300}}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(normalize(bad[i], &kept), ERR_INVALID);
    /* Every field has its place and its words, and no two the same. */
    cleanup(cJSON) cJSON *all = cJSON_CreateObject();
    for (int i = 0; i < REPORT_FIELDS; i++) {
        const struct report_member *m = &report_members[i];
        assert_true(m->key && m->words && *m->words);
        const cJSON *object = m->object ? json_object(all, m->object) : all;
        assert_null(cJSON_GetObjectItemCaseSensitive(object, m->key));
        assert_int_equal(report_set(all, (enum report_field)i,
                                    m->type == REPORT_TEXT     ? cJSON_CreateString("t")
                                    : m->type == REPORT_NUMBER ? cJSON_CreateNumber(1)
                                                               : cJSON_CreateBool(true)),
                         0);
    }
    cleanup(cJSON) cJSON *same = NULL;
    assert_int_equal(report_normalize(all, &same), 0);
    assert_true(cJSON_Compare(all, same, true));
}

static void test_order_kinds(void **state) {
    (void)state;
    enum order_kind kind;
    for (int i = 0; i < ORDER_KINDS; i++) {
        assert_int_equal(order_kind_of(order_kind_name((enum order_kind)i), &kind), 0);
        assert_int_equal(kind, i);
        assert_true(*order_kind_words(kind));
    }
    assert_int_equal(order_kind_of("explode", &kind), ERR_REFUSED);
    assert_int_equal(order_kind_of("", &kind), ERR_REFUSED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key),           cmocka_unit_test(test_jws),
        cmocka_unit_test(test_jws_threshold), cmocka_unit_test(test_jws_tampered),
        cmocka_unit_test(test_trust),         cmocka_unit_test(test_link),
        cmocka_unit_test(test_order),         cmocka_unit_test(test_receipt),
        cmocka_unit_test(test_stamp),         cmocka_unit_test(test_stamp_is_of_its_kind),
        cmocka_unit_test(test_report),        cmocka_unit_test(test_order_kinds),
        cmocka_unit_test(test_request)};
    return cmocka_run_group_tests(tests, make_keys, drop_keys);
}
