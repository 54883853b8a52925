/* The records in the state directory: what survives damage, and what is never guessed. */
#include "agent/state/activity.h"
#include "agent/state/board.h"
#include "agent/state/device.h"
#include "agent/state/identity.h"
#include "agent/state/outbox.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/base/file.h"
#include "platform/base/json.h"
#include "tests/unit/cm.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

static char scratch[64];
static int dir = -1;

static int setup(void **state) {
    (void)state;
    (void)snprintf(scratch, sizeof scratch, "/tmp/satchel-test-XXXXXX");
    if (!mkdtemp(scratch))
        return -1;
    dir = open(scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return dir < 0 ? -1 : 0;
}

static int teardown(void **state) {
    (void)state;
    (void)close(dir);
    return file_remove_tree(AT_FDCWD, scratch, NULL);
}

static void device_round_trip(void **state) {
    (void)state;
    cleanup(device) struct device none = {0}, back = {0};
    assert_int_equal(device_load(dir, &none), 0);
    assert_int_equal(none.state, DEVICE_UNENROLLED);
    struct device d = {.state = DEVICE_WIPING,
                       .server = "https://localhost:1",
                       .id = "dev",
                       .organization = "Acme",
                       .login = "a",
                       .address = "a@b",
                       .name = "A",
                       .fingerprint = "f",
                       .root_pem = strdup("pem"),
                       .trust = cJSON_CreateObject(),
                       .last_sequence = 7,
                       .acknowledged = true};
    assert_int_equal(device_save(dir, &d), 0);
    device_finish(&d);
    assert_int_equal(device_load(dir, &back), 0);
    assert_int_equal(back.state, DEVICE_WIPING);
    assert_string_equal(back.root_pem, "pem");
    assert_int_equal(back.last_sequence, 7);
    assert_true(back.acknowledged);
    assert_int_equal(device_remove(dir), 0);
    assert_int_equal(device_remove(dir), 0);
}

static void device_damage_is_an_error(void **state) {
    (void)state;
    static const char *const bad[] = {
        "", "{", "{}", "[]", "{\"state\":\"enrolled\"}", "{\"state\":\"unenrolled\"}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cleanup(device) struct device d = {0};
        assert_int_equal(file_write_atomic(dir, "device.json", bad[i], strlen(bad[i]), 0600), 0);
        assert_int_equal(device_load(dir, &d), ERR_INVALID);
    }
    assert_int_equal(device_remove(dir), 0);
}

static void activity_survives_a_torn_line(void **state) {
    (void)state;
    cleanup(cJSON) cJSON *list = NULL;
    activity_add(dir, "one", "first %d", 1);
    cleanup(fd) int fd = openat(dir, "activity.jsonl", O_WRONLY | O_APPEND);
    assert_int_equal(write(fd, "{\"at\":\"to", 9), 9);
    activity_add(dir, "two", "second");
    assert_int_equal(activity_list(dir, 100, &list), 0);
    assert_int_equal(cJSON_GetArraySize(list), 2);
    assert_string_equal(json_str(cJSON_GetArrayItem(list, 0), "text"), "first 1");
    assert_string_equal(json_str(cJSON_GetArrayItem(list, 1), "what"), "two");
    cleanup(cJSON) cJSON *last = NULL;
    assert_int_equal(activity_list(dir, 1, &last), 0);
    assert_string_equal(json_str(last->child, "what"), "two");
}

static void board_has_the_documented_shape(void **state) {
    (void)state;
    struct board_view v = {
        .state = DEVICE_ENROLLED, .profile_version = 7, .credential = true, .connected = true};
    board_text(v.profile_id, "acme-mail");
    board_text(v.clients, "thunderbird mutt ");
    board_text(v.imap, "ok");
    cleanup(cJSON) cJSON *json = board_json(&v);
    assert_string_equal(json_str(json, "state"), "enrolled");
    assert_int_equal(json_int(json_object(json, "profile"), "version", 0), 7);
    assert_true(json_bool(json_object(json, "server"), "connected", false));
    const cJSON *account = json_object(json, "account");
    static const char *const numbers[] = {"folders", "messages", "pending"};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(json_int(account, numbers[i], -1), 0);
    assert_string_equal(json_str(account, "imap"), "ok");
    assert_int_equal(json_int(account, "asks", -1), 0);
    assert_true(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(account, "progress")));
    assert_non_null(json_object(json, "vault"));
    assert_non_null(json_object(json, "keyring"));
    assert_int_equal(cJSON_GetArraySize(json_array(json, "clients")), 2);
}

static void board_shows_a_download(void **state) {
    (void)state;
    struct board_view v = {.state = DEVICE_ENROLLED, .credential = true, .asks = 2};
    progress_update(&v.progress, 0, 1, 10, 100, 1000);
    cleanup(cJSON) cJSON *during = board_json(&v);
    const cJSON *progress = json_object(json_object(during, "account"), "progress");
    assert_int_equal(json_int(json_object(during, "account"), "asks", -1), 2);
    assert_int_equal(json_int(progress, "done", -1), 1);
    assert_int_equal(json_int(progress, "bytes_total", -1), 1000);
    progress_update(&v.progress, 1000, 10, 10, 1000, 1000);
    cleanup(cJSON) cJSON *after = board_json(&v);
    assert_non_null(json_object(after, "account"));
    assert_null(json_object(json_object(after, "account"), "progress"));
}

/* What `progress` is at `now`. */
static void expect(const struct progress *progress, int64_t now, int64_t rate, int64_t byte_rate,
                   int64_t eta) {
    cleanup(cJSON) cJSON *json = progress_json(progress, now);
    assert_int_equal(json_int(json, "rate", -2), rate);
    assert_int_equal(json_int(json, "byte_rate", -2), byte_rate);
    assert_int_equal(json_int(json, "eta_seconds", -1), eta);
}

static void progress_has_a_speed(void **state) {
    (void)state;
    struct progress p = {0};
    progress_update(&p, 1000, 5000, 20000, 0, 0);
    expect(&p, 1000, 0, 0, -1);
    progress_update(&p, 3000, 7000, 20000, 16000, 120001); /* what was there before is no speed */
    expect(&p, 3000, 1000, 8000, 14);
    expect(&p, 9000, 250, 2000, 53); /* the line stands still */
    progress_update(&p, 7000, 8000, 20000, 20000, 100000);
    progress_update(&p, 12000, 8500, 20000, 30000, 100000); /* only the last five to ten seconds count */
    expect(&p, 12000, 100, 2000, 35);
    progress_update(&p, 13000, 10, 20, 5, 0); /* begun anew, and the size is not known */
    progress_update(&p, 14000, 15, 20, 10, 0);
    expect(&p, 14000, 5, 5, 1);
    progress_end(&p);
    assert_false(p.running);
    assert_int_equal(p.done, 15);
    progress_update(&p, 15000, 20, 20, 10, 0);
    assert_false(p.running);
    assert_int_equal(p.updates, 7);
}

static void progress_cuts_nonsense(void **state) {
    (void)state;
    struct progress p = {0};
    progress_update(&p, 0, INT64_MIN, INT64_MAX, INT64_MIN, INT64_MAX);
    progress_update(&p, 1000, 1, INT64_MAX, 1, INT64_MAX);
    expect(&p, 1000, 1, 1, -1); /* longer than anybody waits */
    progress_update(&p, 2000, INT64_MAX, INT64_MAX, INT64_MAX, 0);
    assert_false(p.running);
    expect(&p, 2000, (INT64_C(1) << 53) / 2, (INT64_C(1) << 53) / 2, 0);
}

static void outbox_keeps_what_did_not_arrive(void **state) {
    (void)state;
    struct outbox o;
    assert_int_equal(outbox_init(&o), 0);
    outbox_order(&o, "x", "delivered", "");
    outbox_receipt(&o, cJSON_CreateObject(), "x", true);
    cJSON *orders;
    struct outbox_receipt receipt;
    assert_int_equal(outbox_take(&o, &orders, &receipt), 0);
    assert_int_equal(cJSON_GetArraySize(orders), 1);
    assert_true(receipt.last && receipt.jws);
    assert_string_equal(receipt.order, "x");
    cJSON_Delete(receipt.jws);
    outbox_order(&o, "y", "refused", "why");
    outbox_return(&o, orders);
    assert_int_equal(outbox_take(&o, &orders, &receipt), 0);
    assert_int_equal(cJSON_GetArraySize(orders), 2);
    assert_non_null(receipt.jws);
    cJSON_Delete(receipt.jws);
    cJSON_Delete(orders);
    outbox_delivered(&o, receipt.number);
    assert_int_equal(outbox_take(&o, &orders, &receipt), 0);
    assert_null(receipt.jws);
    assert_null(orders->child);
    cJSON_Delete(orders);
    cJSON_Delete(o.orders);
}

/* A receipt that came while the one before it was on its way does not go with it. */
static void outbox_keeps_the_later_receipt(void **state) {
    (void)state;
    struct outbox o;
    struct outbox_receipt first, second;
    cJSON *orders;
    assert_int_equal(outbox_init(&o), 0);
    outbox_receipt(&o, cJSON_CreateObject(), NULL, false);
    assert_int_equal(outbox_take(&o, &orders, &first), 0);
    cJSON_Delete(orders);
    outbox_receipt(&o, cJSON_CreateObject(), "b", true);
    outbox_delivered(&o, first.number);
    assert_int_equal(outbox_take(&o, &orders, &second), 0);
    assert_non_null(second.jws);
    assert_string_equal(second.order, "b");
    cJSON_Delete(orders);
    cJSON_Delete(first.jws);
    cJSON_Delete(second.jws);
    outbox_delivered(&o, second.number);
    assert_null(o.receipt.jws);
    cJSON_Delete(o.orders);
}

static struct device locked_device(void) {
    return (struct device){.state = DEVICE_LOCKED,
                           .server = "https://localhost:1",
                           .id = "dev",
                           .organization = "Acme",
                           .login = "a",
                           .address = "a@b",
                           .name = "A",
                           .fingerprint = "f",
                           .root_pem = strdup("pem"),
                           .trust = cJSON_CreateObject(),
                           .last_sequence = 3,
                           .lock = {.ordered = true, .reason = "lost", .since = 5},
                           .duty = {.order = "o3", .told = true}};
}

static void outbox_has_one_request(void **state) {
    (void)state;
    struct outbox o;
    assert_int_equal(outbox_init(&o), 0);
    assert_null(outbox_get_csr(&o));
    outbox_csr(&o, strdup("one"));
    outbox_csr(&o, strdup("two"));
    char *csr = outbox_get_csr(&o);
    assert_string_equal(csr, "two");
    free(csr);
    outbox_csr(&o, NULL);
    assert_null(outbox_get_csr(&o));
    cJSON_Delete(o.orders);
}

/* A renewed certificate comes with the key and the server that were there; without an identity there is
 * nothing to renew. Whoever has a connection learns of it. */
static void identity_changes_its_certificate(void **state) {
    (void)state;
    struct identity i;
    identity_init(&i);
    int told = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    identity_subscribe(&i, told);
    assert_int_equal(identity_set_certificate(&i, "new"), ERR_WRONG_STATE);
    struct device d = locked_device();
    cleanup(buf) struct buf cert = {0}, key = {0};
    assert_int_equal(buf_add_str(&cert, "old"), 0);
    assert_int_equal(buf_add_str(&key, "key"), 0);
    assert_int_equal(identity_set(&i, &d, &cert, &key), 0);
    uint64_t before = identity_generation(&i), count;
    assert_int_equal(read(told, &count, sizeof count), sizeof count);
    assert_int_equal(identity_set_certificate(&i, "new"), 0);
    assert_int_not_equal(identity_generation(&i), before);
    assert_string_equal(i.cert_pem.data, "new");
    assert_string_equal(i.key_pem.data, "key");
    assert_int_equal(read(told, &count, sizeof count), sizeof count);
    identity_clear(&i);
    assert_int_equal(identity_generation(&i), 0);
    device_finish(&d);
    (void)close(told);
}

static void device_keeps_its_lock(void **state) {
    (void)state;
    struct device d = locked_device();
    cleanup(device) struct device back = {0};
    assert_int_equal(device_save(dir, &d), 0);
    assert_int_equal(device_load(dir, &back), 0);
    assert_int_equal(back.state, DEVICE_LOCKED);
    assert_true(back.lock.ordered && !back.lock.offline && back.duty.told && !back.duty.unlock);
    assert_string_equal(back.lock.reason, "lost");
    assert_string_equal(back.duty.order, "o3");
    assert_int_equal(device_state_at_rest(&back), DEVICE_LOCKED);
    device_finish(&d);
    assert_int_equal(device_remove(dir), 0);
}

/* A record that says that it is locked and by nobody, or the other way round, is damaged: nothing is guessed.
 */
static void device_refuses_a_contradicting_lock(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct device d = locked_device(), back = {0};
        if (i == 0)
            d.state = DEVICE_ENROLLED;
        else
            d.lock.ordered = false;
        assert_int_equal(device_save(dir, &d), 0);
        assert_int_equal(device_load(dir, &back), ERR_INVALID);
        device_finish(&d);
    }
    assert_int_equal(device_remove(dir), 0);
}

static void board_says_why_it_is_locked(void **state) {
    (void)state;
    struct board_view v = {.state = DEVICE_LOCKED, .lock_ordered = true, .lock_since = 5};
    board_text(v.organization, "Acme");
    board_text(v.lock_reason, "lost on the train");
    cleanup(cJSON) cJSON *json = board_json(&v);
    const cJSON *lock = json_object(json, "lock");
    assert_string_equal(json_str(json, "state"), "locked");
    assert_string_equal(json_str(lock, "cause"), "order");
    assert_non_null(strstr(json_str(lock, "text"), "lost on the train"));
    v.lock_ordered = false;
    v.lock_offline = true;
    cleanup(cJSON) cJSON *offline = board_json(&v);
    assert_string_equal(json_str(json_object(offline, "lock"), "cause"), "offline");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(device_round_trip),
        cmocka_unit_test(device_damage_is_an_error),
        cmocka_unit_test(activity_survives_a_torn_line),
        cmocka_unit_test(board_has_the_documented_shape),
        cmocka_unit_test(board_shows_a_download),
        cmocka_unit_test(progress_has_a_speed),
        cmocka_unit_test(progress_cuts_nonsense),
        cmocka_unit_test(outbox_keeps_what_did_not_arrive),
        cmocka_unit_test(outbox_keeps_the_later_receipt),
        cmocka_unit_test(outbox_has_one_request),
        cmocka_unit_test(identity_changes_its_certificate),
        cmocka_unit_test(device_keeps_its_lock),
        cmocka_unit_test(device_refuses_a_contradicting_lock),
        cmocka_unit_test(board_says_why_it_is_locked),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
