#include "agent/wipe/wipe.h"
#include "agent/wipe/wipe_journal.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/keyring/keyring_memory.h"

#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

/* A vault driver that is a directory and a few switches. */

static struct {
    bool open, holders;
    size_t servers;
    int fail_destroy, fail_holders, fail_close, fail_look; /* how many times */
} fake;

static int fake_fails(int *times) {
    if (*times <= 0)
        return 0;
    (*times)--;
    return err_set(ERR_SYSTEM, "the disk says no");
}

static int fake_ok(struct vault *v) {
    (void)v;
    return 0;
}

static bool fake_exists(struct vault *v) {
    (void)v;
    return false;
}

static int fake_open(struct vault *v, const struct buf *key) {
    (void)v, (void)key;
    return 0;
}

static int fake_find_holders(struct vault *v, const struct holders_except *except, struct holders *ret) {
    (void)v, (void)except;
    *ret = (struct holders){0};
    return 0;
}

static int fake_end_holders(struct vault *v, const struct holders_except *except, int64_t polite,
                            int64_t deadline, size_t *ended) {
    (void)polite;
    (void)v, (void)except, (void)deadline;
    *ended += fake.holders;
    fake.holders = false;
    return fake_fails(&fake.fail_holders);
}

static int fake_force_close(struct vault *v, const struct holders_except *except, int64_t deadline) {
    (void)v, (void)except, (void)deadline;
    int r = fake_fails(&fake.fail_close);
    if (r < 0 || !fake.open)
        return r < 0 ? r : VAULT_NOTHING;
    fake.open = false;
    fake.servers = 0;
    return 0;
}

static int fake_destroy_key(struct vault *v) {
    int r = fake_fails(&fake.fail_destroy);
    char path[PATH_MAX];
    struct stat st;
    (void)snprintf(path, sizeof path, "%s/conf", v->ciphertext);
    if (r < 0 || stat(path, &st) < 0)
        return r < 0 ? r : VAULT_NOTHING;
    return file_remove(AT_FDCWD, path);
}

static int fake_is_open(struct vault *v, dev_t *ret_device) {
    (void)v;
    *ret_device = 0;
    int r = fake_fails(&fake.fail_look);
    return r < 0 ? r : fake.open;
}

static int fake_count_servers(struct vault *v, size_t *ret) {
    (void)v;
    *ret = fake.servers;
    return 0;
}

static const struct vault_driver fake_driver = {
    .name = "fake",
    .usable = fake_ok,
    .exists = fake_exists,
    .create = fake_open,
    .open = fake_open,
    .adopt = fake_ok,
    .holders = fake_find_holders,
    .end_holders = fake_end_holders,
    .close = fake_ok,
    .force_close = fake_force_close,
    .destroy_key = fake_destroy_key,
    .is_open = fake_is_open,
    .count_servers = fake_count_servers,
};

/* The rest of the device. */

static char base[64], leftover[PATH_MAX];
static int state_dir = -1;
static struct vault vault;
static struct keyring_memory keyring;
static const char *lose_state;
static int fail_child, fail_account, account_left, child_calls;

static int kill_child(void *userdata) {
    (void)userdata;
    if (lose_state) /* from here on nothing can be written there */
        (void)file_remove_tree(AT_FDCWD, lose_state, NULL);
    int r = fake_fails(&fail_child);
    return r == 0 && child_calls++ ? WIPE_NOTHING : r;
}

static int take_account_out(void *userdata) {
    (void)userdata;
    int r = fake_fails(&fail_account);
    if (r < 0 || !account_left)
        return r < 0 ? r : WIPE_NOTHING;
    account_left = 0;
    (void)unlink(leftover);
    return 0;
}

static int count_account(void *userdata, uint64_t *ret) {
    (void)userdata;
    *ret = (uint64_t)account_left;
    return 0;
}

static const char *const kept[] = {KEYRING_DEVICE_KEY, KEYRING_DEVICE_CERTIFICATE, NULL};
static const char *const leftovers[] = {leftover, NULL};
static struct wipe_target target;

static void put(const char *path, const char *text) {
    assert_int_equal(file_write_atomic(AT_FDCWD, path, text, strlen(text), 0600), 0);
}

static bool exists(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0;
}

static int setup(void **state) {
    (void)state;
    char path[128], more[160];
    (void)snprintf(base, sizeof base, "/tmp/satchel-wipe.XXXXXX");
    if (!mkdtemp(base))
        return -1;
    (void)snprintf(path, sizeof path, "%s/state", base);
    if (file_make_dirs(path, 0700, &state_dir) < 0)
        return -1;
    (void)snprintf(path, sizeof path, "%s/vault.enc", base);
    (void)snprintf(more, sizeof more, "%s/vault", base);
    if (mkdir(path, 0700) < 0 || mkdir(more, 0700) < 0 || vault_init(&vault, &fake_driver, path, more) < 0)
        return -1;
    (void)snprintf(more, sizeof more, "%s/conf", path);
    put(more, "key material");
    (void)snprintf(more, sizeof more, "%s/letter", path);
    put(more, "ciphertext");
    (void)snprintf(leftover, sizeof leftover, "%s/runtime-file", base);
    put(leftover, "x");
    keyring_memory_init(&keyring);
    static const char *const kinds[] = {KEYRING_DEVICE_KEY, KEYRING_DEVICE_CERTIFICATE, KEYRING_VAULT_KEY,
                                        KEYRING_MAIL_CREDENTIAL, "of-a-later-version"};
    for (size_t i = 0; i < 5; i++)
        if (keyring_store(&keyring.keyring, kinds[i], "Satchel", "the secret itself", 17) < 0)
            return -1;
    memset(&fake, 0, sizeof fake);
    fake.open = fake.holders = true;
    fake.servers = 1;
    fail_child = fail_account = child_calls = 0;
    account_left = 1;
    lose_state = NULL;
    target = (struct wipe_target){
        .state_dir = state_dir,
        .keyring = &keyring.keyring,
        .vault = &vault,
        .kept_kinds = kept,
        .leftovers = leftovers,
        .kill_mail_child = kill_child,
        .remove_account = take_account_out,
        .count_account = count_account,
    };
    return 0;
}

static int teardown(void **state) {
    (void)state;
    vault_finish(&vault);
    keyring_memory_finish(&keyring);
    (void)close(state_dir);
    return file_remove_tree(AT_FDCWD, base, NULL);
}

static void begin(void) {
    cleanup(cJSON) cJSON *cause = cJSON_CreateObject();
    assert_int_equal(json_add_str(cause, "order", "o-1"), 0);
    assert_int_equal(wipe_begin(state_dir, cause), 0);
}

static cJSON *run(const char *expected) {
    cJSON *result = NULL;
    assert_int_equal(wipe_run(&target, &result), 0);
    if (strcmp(json_str(result, "result"), expected) != 0)
        fail_msg("%s", json_print(result));
    assert_int_equal(keyring.keyring.timeout_ms, KEYRING_TIMEOUT_MS);
    return result;
}

static const cJSON *step_of(const cJSON *result, const char *name) {
    const cJSON *step;
    cJSON_ArrayForEach(step, json_array(result, "steps")) {
        if (strcmp(json_str(step, "name"), name) == 0)
            return step;
    }
    fail_msg("no step %s", name);
    return NULL;
}

/* Nothing is left but what signs the receipt. */
static void check_gone(void) {
    struct keyring_kinds kinds;
    assert_int_equal(keyring_list(&keyring.keyring, &kinds), 0);
    assert_int_equal(kinds.n, 2);
    assert_true(keyring_kinds_has(&kinds, KEYRING_DEVICE_KEY));
    assert_true(keyring_kinds_has(&kinds, KEYRING_DEVICE_CERTIFICATE));
    assert_false(exists(vault.ciphertext) || exists(vault.mount) || exists(leftover));
    assert_false(fake.open || fake.servers || fake.holders || account_left);
}

/* Journal. */

static void test_begin_pending_finish(void **state) {
    (void)state;
    cleanup(cJSON) cJSON *journal = NULL;
    assert_int_equal(wipe_pending(state_dir, &journal), 0);
    assert_int_equal(wipe_finish(state_dir), 0);
    assert_int_equal(wipe_run(&target, &journal), ERR_WRONG_STATE);
    begin();
    assert_true(exists(vault.ciphertext)); /* nothing is erased yet */
    cleanup(cJSON) cJSON *other = cJSON_CreateObject();
    assert_int_equal(json_add_str(other, "order", "o-2"), 0);
    assert_int_equal(wipe_begin(state_dir, other), WIPE_PENDING);
    assert_int_equal(wipe_pending(state_dir, &journal), WIPE_PENDING);
    assert_string_equal(json_str(json_object(journal, "cause"), "order"), "o-1");
    assert_null(json_object(journal, "result"));
    struct stat st;
    assert_int_equal(fstatat(state_dir, "wipe.json", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(wipe_finish(state_dir), 0);
    cJSON *none = NULL;
    assert_int_equal(wipe_pending(state_dir, &none), 0);
    assert_null(none);
}

static void test_causes_that_are_none(void **state) {
    (void)state;
    cleanup(cJSON) cJSON *array = cJSON_CreateArray(), *large = cJSON_CreateObject(),
                         *deep = cJSON_CreateObject();
    assert_int_equal(wipe_begin(state_dir, array), ERR_INVALID);
    cleanup(free) char *text = malloc(WIPE_CAUSE_MAX + 1);
    memset(text, 'a', WIPE_CAUSE_MAX);
    text[WIPE_CAUSE_MAX] = '\0';
    assert_int_equal(json_add_str(large, "jws", text), 0);
    assert_int_equal(wipe_begin(state_dir, large), ERR_TOO_LARGE);
    cJSON *at = deep;
    for (int i = 0; i < JSON_MAX_DEPTH; i++)
        at = cJSON_AddObjectToObject(at, "a");
    assert_int_equal(wipe_begin(state_dir, deep), ERR_INVALID);
    cJSON *none = NULL;
    assert_int_equal(wipe_pending(state_dir, &none), 0);
}

/* A damaged journal erases nothing. */
static void test_rubbish(void **state) {
    (void)state;
    static const char *const texts[] = {
        "",
        "\x7f"
        "ELF",
        "{}",
        "[]",
        "null",
        "{\"type\":\"wipe-journal\"}",
        "{\"type\":\"wipe-journal\",\"version\":2,\"cause\":{},\"started_at\":\"2026-01-01T00:00:00Z\","
        "\"steps\":[]}",
        "{\"type\":\"wipe-journal\",\"version\":1,\"started_at\":\"2026-01-01T00:00:00Z\",\"steps\":[]}",
        "{\"type\":\"wipe-journal\",\"version\":1,\"cause\":{},\"started_at\":\"yesterday\",\"steps\":[]}",
        "{\"type\":\"wipe-journal\",\"version\":1,\"cause\":{},\"started_at\":\"2026-01-01T00:00:00Z\","
        "\"steps\":{}}",
        "{\"type\":\"wipe-journal\",\"version\":1,\"cause\":{},\"started_at\":\"2026-01-01T00:00:00Z\","
        "\"steps\":[1]}",
        "{\"type\":\"wipe-journal\",\"version\":1,\"cause\":{},\"started_at\":\"2026-01-01T00:00:00Z\","
        "\"steps\":[],"
        "\"result\":{\"result\":\"great\"}}",
        "{\"type\":\"wipe-journal\",\"version\":1,\"cause\":{},\"started_at\":\"2026-01-01T00:00:00Z\","
        "\"steps\":[]",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        cJSON *journal = NULL;
        assert_int_equal(file_write_atomic(state_dir, "wipe.json", texts[i], strlen(texts[i]), 0600), 0);
        assert_int_equal(wipe_pending(state_dir, &journal), ERR_INVALID);
        assert_int_equal(wipe_run(&target, &journal), ERR_INVALID);
        assert_null(journal);
    }
    assert_int_equal(child_calls, 0);
    assert_true(exists(vault.ciphertext) && fake.open);
    assert_int_equal(keyring.n, 5);
    begin(); /* a verified order is not stopped by it */
    cleanup(buf) struct buf bad = {0};
    assert_int_equal(file_read(state_dir, "wipe.json.bad", 4096, &bad), 0);
    assert_string_equal(bad.data, texts[sizeof texts / sizeof *texts - 1]);
    cJSON_Delete(run("done"));
}

static void test_what_a_torn_write_leaves(void **state) {
    (void)state;
    begin();
    assert_int_equal(file_write_atomic(state_dir, "wipe.json.abc.tmp", "{\"ty", 4, 0600), 0);
    assert_int_equal(file_write_atomic(state_dir, "other.abc.tmp", "x", 1, 0600), 0);
    cJSON_Delete(run("done"));
    struct stat st;
    assert_int_equal(fstatat(state_dir, "wipe.json.abc.tmp", &st, 0), -1);
    assert_int_equal(fstatat(state_dir, "other.abc.tmp", &st, 0), 0);
}

/* Running. */

static void test_all_goes_well(void **state) {
    (void)state;
    begin();
    cleanup(cJSON) cJSON *result = run("done");
    check_gone();
    static const char *const names[] = {
        "kill-mail-child",   "destroy-key",    "end-holders",    "close-vault",
        "remove-ciphertext", "remove-secrets", "remove-account", "verify"};
    assert_int_equal(cJSON_GetArraySize(json_array(result, "steps")), 8);
    for (int i = 0; i < 8; i++) {
        const cJSON *step = cJSON_GetArrayItem(json_array(result, "steps"), i);
        assert_string_equal(json_str(step, "name"), names[i]);
        assert_string_equal(json_str(step, "outcome"), "done");
        assert_true(clock_parse_rfc3339(json_str(step, "started_at")) > 0);
        assert_true(json_int(step, "duration_ms", -1) >= 0);
    }
    assert_null(json_str(result, "reason"));
    assert_string_equal(json_str(json_object(result, "vault"), "driver"), "fake");
    /* The key material was overwritten and removed before the count. */
    assert_int_equal(json_int(json_object(result, "removed"), "files", -1), 1);
    assert_int_equal(json_int(json_object(result, "removed"), "bytes", -1), 10);
    const cJSON *line;
    assert_int_equal(cJSON_GetArraySize(json_array(result, "checked")), 6);
    cJSON_ArrayForEach(line, json_array(result, "checked")) assert_int_equal(json_int(line, "found", -1), 0);
    assert_true(clock_parse_rfc3339(json_str(result, "unreadable_at")) > 0);
    assert_true(clock_parse_rfc3339(json_str(result, "finished_at")) > 0);
}

static void test_the_result_stays(void **state) {
    (void)state;
    begin();
    cleanup(cJSON) cJSON *first = run("done");
    int calls = child_calls;
    cleanup(cJSON) cJSON *second = run("done");
    assert_int_equal(child_calls, calls);
    assert_true(cJSON_Compare(first, second, true));
    keyring.missing = true; /* at the next start there is no session yet: no reason to take it back */
    cleanup(cJSON) cJSON *third = run("done");
    assert_true(cJSON_Compare(first, third, true));
}

/* "done" in a file that anybody can write is believed only after a look. */
static void test_a_forged_result(void **state) {
    (void)state;
    begin();
    cleanup(cJSON) cJSON *journal = NULL;
    assert_int_equal(wipe_pending(state_dir, &journal), WIPE_PENDING);
    cJSON *forged = cJSON_AddObjectToObject(journal, "result");
    assert_int_equal(json_add_str(forged, "result", "done"), 0);
    assert_int_equal(wipe_journal_save(state_dir, journal), 0);
    cJSON_Delete(run("done"));
    check_gone();
}

static void test_nothing_to_do(void **state) {
    (void)state;
    begin();
    cJSON_Delete(run("done"));
    assert_int_equal(wipe_finish(state_dir), 0);
    begin();
    cleanup(cJSON) cJSON *result = run("done");
    for (int i = 0; i < 7; i++)
        assert_string_equal(json_str(cJSON_GetArrayItem(json_array(result, "steps"), i), "outcome"),
                            "nothing-to-do");
    assert_int_equal(json_int(json_object(result, "removed"), "files", -1), 0);
}

static void test_no_secret_in_the_journal(void **state) {
    (void)state;
    begin();
    keyring.locked = true;
    cJSON_Delete(run("failed"));
    cleanup(buf) struct buf text = {0};
    assert_int_equal(file_read(state_dir, "wipe.json", 1 << 20, &text), 0);
    assert_null(strstr(text.data, "the secret itself"));
    assert_null(strstr(text.data, "letter"));
}

/* A step that fails: the others are done all the same, the result says so, and a later run ends it. */
static void check_fault(int *fault, const char *step) {
    begin();
    *fault = INT_MAX;
    cleanup(cJSON) cJSON *failed = run("failed");
    assert_string_equal(json_str(step_of(failed, step), "outcome"), "failed");
    assert_memory_equal(json_str(failed, "reason"), step, strlen(step));
    assert_non_null(strstr(json_str(failed, "reason"), "the disk says no"));
    assert_false(exists(vault.mount) && !fake.open);
    assert_int_equal(keyring.n, 2);
    *fault = 0;
    cleanup(cJSON) cJSON *done = run("done");
    assert_string_equal(json_str(step_of(done, step), "outcome"), "done");
    check_gone();
}

static void test_child_does_not_end(void **state) {
    (void)state;
    check_fault(&fail_child, "kill-mail-child");
}

static void test_key_material_stays(void **state) {
    (void)state;
    begin();
    fake.fail_destroy = INT_MAX;
    cleanup(cJSON) cJSON *failed = run("failed");
    assert_true(cJSON_IsNull(cJSON_GetObjectItem(failed, "unreadable_at")));
    check_gone(); /* it went with the ciphertext; the step is still told as failed */
    fake.fail_destroy = 0;
    cleanup(cJSON) cJSON *done = run("done");
    assert_true(cJSON_IsString(cJSON_GetObjectItem(done, "unreadable_at")));
}

static void test_holders_do_not_end(void **state) {
    (void)state;
    check_fault(&fake.fail_holders, "end-holders");
}

static void test_vault_does_not_close(void **state) {
    (void)state;
    check_fault(&fake.fail_close, "close-vault");
}

static void test_account_stays(void **state) {
    (void)state;
    check_fault(&fail_account, "remove-account");
}

static void test_no_keyring(void **state) {
    (void)state;
    begin();
    keyring.missing = true;
    cleanup(cJSON) cJSON *failed = run("failed");
    assert_non_null(strstr(json_str(failed, "reason"), "destroy-key: there is no keyring"));
    assert_string_equal(json_str(step_of(failed, "remove-secrets"), "outcome"), "failed");
    assert_string_equal(json_str(step_of(failed, "remove-ciphertext"), "outcome"), "done");
    assert_false(exists(vault.ciphertext));
    const cJSON *line;
    cJSON_ArrayForEach(line, json_array(failed, "checked")) {
        bool is_keyring = strcmp(json_str(line, "what"), "keyring-items") == 0;
        assert_int_equal(cJSON_IsNull(cJSON_GetObjectItem(line, "found")), is_keyring);
        assert_true(!is_keyring || json_str(line, "error"));
    }
    keyring.missing = false;
    cleanup(cJSON) cJSON *done = run("done");
    check_gone();
    assert_string_equal(json_str(step_of(done, "remove-ciphertext"), "outcome"), "done");
    assert_int_equal(json_int(json_object(done, "removed"), "files", -1), 1);
}

static void test_one_failure_is_retried(void **state) {
    (void)state;
    begin();
    fake.fail_close = fail_account = 1;
    cleanup(cJSON) cJSON *result = run("done");
    check_gone();
    assert_string_equal(json_str(step_of(result, "close-vault"), "outcome"), "done");
    assert_null(json_str(step_of(result, "remove-account"), "detail"));
}

/* Something came back between the removal and the look. */
static void test_not_done_while_anything_is_left(void **state) {
    (void)state;
    begin();
    account_left = 0; /* nobody removes the runtime file */
    cleanup(cJSON) cJSON *failed = run("failed");
    assert_string_equal(json_str(failed, "reason"), "verify: not everything is gone: runtime-files");
    assert_int_equal(unlink(leftover), 0);
    cJSON_Delete(run("done"));
}

/* The state directory cannot be written in the middle: the mail goes nevertheless. */
static void test_journal_cannot_be_written(void **state) {
    (void)state;
    begin();
    char path[128];
    (void)snprintf(path, sizeof path, "%s/state", base);
    lose_state = path;
    cJSON_Delete(run("done"));
    check_gone();
    cleanup(cJSON) cJSON *cause = cJSON_CreateObject();
    assert_int_equal(wipe_begin(state_dir, cause), ERR_SYSTEM);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_begin_pending_finish),
        TEST(test_causes_that_are_none),
        TEST(test_rubbish),
        TEST(test_what_a_torn_write_leaves),
        TEST(test_all_goes_well),
        TEST(test_the_result_stays),
        TEST(test_a_forged_result),
        TEST(test_nothing_to_do),
        TEST(test_no_secret_in_the_journal),
        TEST(test_child_does_not_end),
        TEST(test_key_material_stays),
        TEST(test_holders_do_not_end),
        TEST(test_vault_does_not_close),
        TEST(test_account_stays),
        TEST(test_no_keyring),
        TEST(test_one_failure_is_retried),
        TEST(test_not_done_while_anything_is_left),
        TEST(test_journal_cannot_be_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
