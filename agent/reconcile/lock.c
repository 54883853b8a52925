/* Lock and unlock: from a verified order to a vault that is closed, or may be opened, and a receipt that says
 * so. */
#include "agent/reconcile/agent.h"
#include "agent/state/activity.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/encode.h"
#include "platform/base/err.h"
#include "platform/base/json.h"
#include "platform/base/log.h"
#include "server-api/contract/receipt.h"

#include <stdio.h>
#include <string.h>

/* The result of a receipt as it grows: see server-api/contract/receipt.h. */
struct lock_result {
    cJSON *json;            /* owned */
    cJSON *steps, *checked; /* borrowed of it */
    char first[BOARD_TEXT]; /* what failed first; "": nothing did */
    int failed;             /* its code */
};

static int lock_result_begin(const struct agent *a, struct lock_result *ret) {
    char now[CLOCK_RFC3339_SIZE];
    struct lock_result l = {
        .json = cJSON_CreateObject(), .steps = cJSON_CreateArray(), .checked = cJSON_CreateArray()};
    cJSON *vault = cJSON_CreateObject();
    int r = json_add_item(l.json, "steps", l.steps) | json_add_item(l.json, "checked", l.checked) |
            json_add_str(vault, "driver", a->vault.driver->name) | json_add_item(l.json, "vault", vault) |
            json_add_str(l.json, "started_at", clock_rfc3339(clock_real_ms(), now));
    if (r < 0) {
        cJSON_Delete(l.json);
        return err_set(ERR_SYSTEM, "out of memory");
    }
    *ret = l;
    return 0;
}

static void lock_fail(struct lock_result *l, const char *what, int code) {
    if (!l->failed)
        board_text(l->first, "%s: %s", what, err_text());
    l->failed = l->failed ? l->failed : code;
}

/* Notes a step that began at `began` (clock_boot_ms()) and came to `r`: a code, 0, or 1 where there was
 * nothing to do. */
static void lock_step(struct lock_result *l, const char *name, int64_t began, int r, const char *detail) {
    char at[CLOCK_RFC3339_SIZE];
    int64_t took = clock_boot_ms() - began;
    cJSON *step = cJSON_CreateObject();
    if (r < 0)
        lock_fail(l, name, r);
    if (r < 0 || detail[0])
        (void)json_add_str(step, "detail", r < 0 ? err_text() : detail);
    (void)(json_add_str(step, "name", name) |
           json_add_str(step, "outcome",
                        r < 0   ? "failed"
                        : r > 0 ? "nothing-to-do"
                                : "done") |
           json_add_str(step, "started_at", clock_rfc3339(clock_real_ms() - took, at)) |
           json_add_int(step, "duration_ms", took));
    if (!cJSON_AddItemToArray(l->steps, step))
        cJSON_Delete(step);
}

static void lock_check(struct lock_result *l, const char *what, int r, size_t found) {
    cJSON *line = cJSON_CreateObject();
    if (r == 0 && found)
        r = err_set(ERR_WRONG_STATE, "%zu found", found);
    if (r < 0)
        lock_fail(l, what, r);
    (void)(json_add_str(line, "what", what) | json_add_int(line, "found", (int64_t)found));
    if (!cJSON_AddItemToArray(l->checked, line))
        cJSON_Delete(line);
}

/* The mail child first: it is ours, and takes leave of the server. Then whoever else has files in the vault.
 */
static void lock_close(struct agent *a, struct lock_result *l) {
    char detail[80] = "";
    size_t ended = 0;
    int64_t began = clock_boot_ms();
    bool running = child_running(a->child);
    if (running)
        child_stop(a->child);
    lock_step(l, "end-mail-child", began, running ? 0 : 1, "");
    began = clock_boot_ms();
    int r = vault_lock(&a->vault, NULL, &ended);
    if (ended)
        board_text(detail, "%zu programs that used the vault were ended", ended);
    lock_step(l, "close-vault", began, r, detail);
}

/* Looks again: nothing of the mail may be there to be read. */
static void lock_look(struct agent *a, struct lock_result *l) {
    struct vault_left left = {0};
    int r = vault_look_for_rest(&a->vault, &left);
    lock_check(l, "mail process", 0, child_running(a->child));
    lock_check(l, "open vault", r, left.mounts + left.servers);
}

static void lock_lift(struct lock_result *l, bool locked) {
    lock_step(l, "lift-lock", clock_boot_ms(), locked ? 1 : 0, "");
    lock_check(l, "locks", 0, locked);
}

static int lock_sign(struct agent *a, struct lock_result *l) {
    char id[RANDOM_ID_SIZE], now[CLOCK_RFC3339_SIZE];
    int r = json_add_str(l->json, "finished_at", clock_rfc3339(clock_real_ms(), now)) |
            json_add_str(l->json, "result", receipt_result_name(l->failed ? RECEIPT_FAILED : RECEIPT_DONE));
    if (l->failed)
        r |= json_add_str(l->json, "reason", l->first);
    cleanup(EVP_PKEY) EVP_PKEY *key = r < 0 ? NULL : identity_key(a->identity);
    const struct receipt_about about = {
        .id = random_id(id),
        .order = a->device.duty.order,
        .cause = "order",
        .kind = order_kind_name(a->device.duty.unlock ? ORDER_UNLOCK : ORDER_LOCK),
        .device = a->device.id};
    cJSON *receipt = key ? receipt_make(l->json, &about, key) : NULL;
    if (!receipt)
        return ERR_KEYRING;
    outbox_receipt(a->outbox, receipt, a->device.duty.order, false);
    return 0;
}

/* A failure is told when it is another one than before; what is done is told once it is sure to outlast a
 * crash. */
static int lock_tell(struct agent *a, struct lock_result *l) {
    if (l->failed && strcmp(a->told, l->first) == 0)
        return 0;
    int r = l->failed ? 0 : device_save(a->state_dir, &a->device);
    if (r == 0)
        r = lock_sign(a, l);
    if (r < 0)
        return r;
    board_text(a->told, "%s", l->first);
    a->duty_out = !l->failed;
    return 0;
}

int agent_lock(struct agent *a) {
    bool locked = a->device.state == DEVICE_LOCKED,
         owed = a->device.duty.order[0] && !a->device.duty.told && !a->duty_out && a->loaded;
    struct lock_result l = {0};
    if ((!locked && a->device.state != DEVICE_ENROLLED) || (!locked && !owed))
        return 0;
    int r = lock_result_begin(a, &l);
    if (r < 0)
        return r;
    if (locked)
        lock_close(a, &l);
    if (owed && a->device.duty.unlock)
        lock_lift(&l, a->device.lock.ordered);
    else if (owed)
        lock_look(a, &l);
    if (owed)
        r = lock_tell(a, &l);
    cJSON_Delete(l.json);
    return l.failed ? err_set(l.failed, "%s", l.first) : r;
}

/* The order is on the disk before anything is done because of it. Where the disk is full it is carried out
 * all the same; the receipt waits until it can be written. */
static void lock_take(struct agent *a, const struct order *order) {
    a->device.state = device_state_at_rest(&a->device);
    a->device.last_sequence = order->sequence;
    a->device.duty.unlock = order->kind == ORDER_UNLOCK;
    a->device.duty.told = a->duty_out = false;
    a->told[0] = '\0';
    (void)snprintf(a->device.duty.order, sizeof a->device.duty.order, "%s", order->id);
    if (device_save(a->state_dir, &a->device) < 0)
        log_error("%s; going on", err_text());
    agent_show(a);
}

void agent_lock_ordered(struct agent *a, const struct order *order, const cJSON *jws, const cJSON *payload) {
    (void)jws;
    (void)payload;
    log_info("the organization locks this device (order %s)", order->id);
    if (a->device.state != DEVICE_LOCKED)
        a->device.lock.since = clock_real_ms();
    a->device.lock.ordered = true;
    (void)snprintf(a->device.lock.reason, sizeof a->device.lock.reason, "%s", order->reason);
    lock_take(a, order);
    activity_add(a->state_dir, "locked",
                 "%s locked this device: its mail stays here, closed, until it is unlocked. Reason given: %s",
                 a->device.organization, order->reason[0] ? order->reason : "none");
}

void agent_unlock_ordered(struct agent *a, const struct order *order, const cJSON *jws,
                          const cJSON *payload) {
    (void)jws;
    (void)payload;
    log_info("the organization unlocks this device (order %s)", order->id);
    a->device.lock.ordered = a->device.lock.offline = false; /* whoever brings an order is in contact */
    a->device.lock.reason[0] = '\0';
    lock_take(a, order);
    activity_add(a->state_dir, "unlocked", "%s unlocked this device. Reason given: %s",
                 a->device.organization, order->reason[0] ? order->reason : "none");
}

int agent_lock_told(struct agent *a, const char *order) {
    if (!order || !a->duty_out || strcmp(order, a->device.duty.order) != 0)
        return 0; /* a failure was told, or another order has come meanwhile */
    a->device.duty.told = true;
    a->duty_out = false;
    return device_save(a->state_dir, &a->device);
}
