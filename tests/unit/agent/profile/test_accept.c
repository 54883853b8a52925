/* Which profiles an agent takes: signed, checked, only upwards. */
#include "agent/profile/accept.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/base/file.h"
#include "platform/base/json.h"
#include "server-api/contract/profile.h"
#include "tests/unit/cm.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static EVP_PKEY *root, *signer, *stranger;
static struct trust trust;

static const char profile_text[] =
    "{\"type\":\"profile\",\"id\":\"acme-mail\",\"version\":%d,\"organization\":{\"name\":\"Acme\"},"
    "\"account\":{\"id\":\"work\",\"address\":\"{user.address}\",\"name\":\"{user.name}\",\"login\":\"{user."
    "login}\","
    "\"incoming\":{\"protocol\":\"%s\",\"host\":\"imap.acme.example\",\"port\":993,\"security\":\"%s\"},"
    "\"authentication\":\"password\"}%s}";

static cJSON *make(int version, const char *protocol, const char *security, const char *more) {
    char text[2000];
    cJSON *json = NULL;
    (void)snprintf(text, sizeof text, profile_text, version, protocol, security, more);
    assert_int_equal(json_parse(text, strlen(text), &json), 0);
    return json;
}

/* Signs, checks against version `now` (0: none), and says what came of it. */
static int check(int version, const char *protocol, const char *security, const char *more, int now,
                 EVP_PKEY *key, const char *type) {
    cleanup(cJSON) cJSON *profile = make(version, protocol, security, more), *taken = NULL,
                         *in_force = now ? make(now, "imap", "tls", "") : NULL,
                         *jws = jws_sign(profile, type, &key, 1);
    int64_t claimed = -1;
    int r = accept_check(&trust, jws, in_force, &taken, &claimed);
    assert_int_equal(claimed, version);
    assert_true(r == 0 ? taken != NULL : taken == NULL);
    return r;
}

static void only_upwards(void **state) {
    (void)state;
    assert_int_equal(check(1, "imap", "tls", "", 0, signer, JWS_TYPE_PROFILE), 0);
    assert_int_equal(check(3, "imap", "starttls", "", 2, signer, JWS_TYPE_PROFILE), 0);
    assert_int_equal(check(2, "imap", "tls", "", 2, signer, JWS_TYPE_PROFILE), 1);
    assert_int_equal(check(2, "imap", "starttls", "", 2, signer, JWS_TYPE_PROFILE), ERR_REFUSED);
    assert_int_equal(check(1, "imap", "tls", "", 2, signer, JWS_TYPE_PROFILE), ERR_REFUSED);
}

static void only_imap_with_tls(void **state) {
    (void)state;
    assert_int_equal(check(1, "pop3", "tls", "", 0, signer, JWS_TYPE_PROFILE), ERR_REFUSED);
    assert_non_null(strstr(err_text(), "/account/incoming/protocol"));
    assert_int_equal(check(1, "imap", "none", "", 0, signer, JWS_TYPE_PROFILE), ERR_REFUSED);
    assert_non_null(strstr(err_text(), "/account/incoming/security"));
}

static void unknown_keys_unless_critical(void **state) {
    (void)state;
    assert_int_equal(check(1, "imap", "tls", ",\"calendar\":{\"url\":\"x\"}", 0, signer, JWS_TYPE_PROFILE),
                     0);
    assert_int_equal(
        check(1, "imap", "tls", ",\"calendar\":{},\"critical\":[\"calendar\"]", 0, signer, JWS_TYPE_PROFILE),
        ERR_REFUSED);
    assert_int_equal(
        check(1, "imap", "tls", ",\"critical\":[\"/account/incoming/pinned\"]", 0, signer, JWS_TYPE_PROFILE),
        ERR_REFUSED);
    assert_int_equal(check(1, "imap", "tls", ",\"critical\":[\"/policy\"]", 0, signer, JWS_TYPE_PROFILE), 0);
}

static void only_signed(void **state) {
    (void)state;
    assert_int_equal(check(1, "imap", "tls", "", 0, stranger, JWS_TYPE_PROFILE), ERR_SIGNATURE);
    assert_int_equal(check(1, "imap", "tls", "", 0, root, JWS_TYPE_PROFILE), ERR_SIGNATURE);
    assert_int_equal(check(1, "imap", "tls", "", 0, signer, JWS_TYPE_ORDER), ERR_SIGNATURE);
    cleanup(cJSON) cJSON *profile = make(1, "imap", "tls", ""),
                         *jws = jws_sign(profile, JWS_TYPE_PROFILE, &signer, 1),
                         *other = make(9, "imap", "tls", ""),
                         *forged = jws_sign(other, JWS_TYPE_PROFILE, &stranger, 1), *taken = NULL;
    int64_t claimed;
    assert_int_equal(json_set_str(jws, "payload", json_str(forged, "payload")), 0);
    assert_int_equal(accept_check(&trust, jws, NULL, &taken, &claimed), ERR_SIGNATURE);
    cJSON_DeleteItemFromObjectCaseSensitive(jws, "signatures");
    assert_int_equal(accept_check(&trust, jws, NULL, &taken, &claimed), ERR_INVALID);
    assert_int_equal(accept_check(&trust, profile, NULL, &taken, &claimed), ERR_INVALID);
    assert_null(taken);
}

static void stored_and_verified_again(void **state) {
    (void)state;
    char path[] = "/tmp/satchel-test-XXXXXX";
    assert_non_null(mkdtemp(path));
    cleanup(fd) int dir = open(path, O_RDONLY | O_DIRECTORY);
    cleanup(cJSON) cJSON *profile = make(4, "imap", "tls", ""),
                         *jws = jws_sign(profile, JWS_TYPE_PROFILE, &signer, 1),
                         *forged = jws_sign(profile, JWS_TYPE_PROFILE, &stranger, 1), *loaded = NULL;
    assert_int_equal(accept_load(dir, &trust, &loaded), 1);
    assert_int_equal(accept_store(dir, jws), 0);
    assert_int_equal(accept_load(dir, &trust, &loaded), 0);
    assert_int_equal(profile_version(loaded), 4);
    assert_int_equal(accept_store(dir, forged), 0);
    cJSON *none = NULL;
    assert_int_equal(accept_load(dir, &trust, &none), ERR_SIGNATURE);
    assert_int_equal(accept_remove(dir), 0);
    assert_int_equal(file_remove_tree(AT_FDCWD, path, NULL), 0);
}

static int setup(void **state) {
    (void)state;
    root = key_generate();
    signer = key_generate();
    stranger = key_generate();
    cleanup(cJSON) cJSON *doc = trust_make(1, "Acme", signer), *jws = jws_sign(doc, JWS_TYPE_TRUST, &root, 1);
    return trust_open(jws, root, &trust);
}

static int teardown(void **state) {
    (void)state;
    trust_finish(&trust);
    EVP_PKEY_free(root);
    EVP_PKEY_free(signer);
    EVP_PKEY_free(stranger);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_upwards),
        cmocka_unit_test(only_imap_with_tls),
        cmocka_unit_test(unknown_keys_unless_critical),
        cmocka_unit_test(only_signed),
        cmocka_unit_test(stored_and_verified_again),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
