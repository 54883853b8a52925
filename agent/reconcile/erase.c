/* Wipe and leave: from a verified order, or the employee's word, to an acknowledged receipt and an unenrolled
 * device. */
#include "agent/profile/accept.h"
#include "agent/reconcile/agent.h"
#include "agent/state/activity.h"
#include "agent/wipe/wipe.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/encode.h"
#include "platform/base/err.h"
#include "platform/base/file.h"
#include "platform/base/json.h"
#include "platform/base/log.h"
#include "server-api/contract/profile.h"
#include "server-api/contract/receipt.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define ERASE_RECEIPT "receipt.json"

static int erase_kill_mail_child(void *userdata) {
    struct agent *a = userdata;
    return child_running(a->child) ? child_kill(a->child) : WIPE_NOTHING;
}

static int erase_remove_account(void *userdata) {
    struct agent *a = userdata;
    bool there = accept_stored(a->state_dir);
    int r = accept_remove(a->state_dir);
    if (r < 0)
        return r;
    cJSON_Delete(a->profile);
    a->profile = NULL;
    return there ? 0 : WIPE_NOTHING;
}

static int erase_count_account(void *userdata, uint64_t *ret_found) {
    const struct agent *a = userdata;
    *ret_found = accept_stored(a->state_dir);
    return 0;
}

/* Why a wipe is: borrowed of the journal. */
struct erase_cause {
    const char *kind;  /* "order", "leave", "offline": as in the receipt */
    const char *order; /* NULL: none */
};

/*
 * A wipe for want of contact is ordered by the signed profile, once the time has passed. That is looked at
 * before the first step; afterwards the record of the device says that it has begun, and contact does not
 * take it back.
 */
static int erase_check_offline(const struct agent *a, const cJSON *cause) {
    cleanup(cJSON) cJSON *profile = NULL;
    const cJSON *jws = json_object(cause, "jws");
    if (!jws)
        return err_set(ERR_INVALID, "the wipe journal has no profile that demands it");
    int r = trust_verify(&a->trust, TRUST_PROFILE, jws, &profile);
    if (r < 0)
        return r;
    if (profile_offline_wipe_days(profile) <= 0)
        return err_set(ERR_REFUSED, "the profile in the wipe journal demands no wipe");
    if (a->device.state != DEVICE_WIPING && a->device.state != DEVICE_WIPED && !a->offline_over)
        return err_set(ERR_REFUSED,
                       "the time without contact that the wipe journal speaks of has not passed");
    return 0;
}

/* Whether what the journal calls its cause is one: a disk is not trusted, what was signed is verified again.
 */
static int erase_check_cause(const struct agent *a, const cJSON *cause, struct erase_cause *ret) {
    const char *kind = json_str(cause, "kind");
    bool offline = kind && strcmp(kind, "offline") == 0;
    if (offline || (kind && strcmp(kind, "leave") == 0)) {
        int r = offline ? erase_check_offline(a, cause) : 0;
        if (r == 0)
            *ret = (struct erase_cause){.kind = kind};
        return r;
    }
    struct order order;
    cleanup(cJSON) cJSON *payload = NULL;
    const cJSON *jws = json_object(cause, "jws");
    if (!kind || strcmp(kind, "order") != 0 || !jws)
        return err_set(ERR_INVALID, "the wipe journal names no cause");
    int r = trust_verify(&a->trust, TRUST_ORDER, jws, &payload);
    if (r == 0)
        r = order_read(payload, &order);
    if (r == 0 && (order.kind != ORDER_WIPE || strcmp(order.device, a->device.id) != 0))
        r = err_set(ERR_REFUSED, "the order in the wipe journal is not a wipe of this device");
    const char *id = json_str(json_object(cause, "order"), "id");
    if (r == 0 && (!id || strcmp(id, order.id) != 0))
        r = err_set(ERR_INVALID, "the wipe journal contradicts its order");
    if (r == 0)
        *ret = (struct erase_cause){.kind = kind, .order = id};
    return r;
}

static void erase_say(struct agent *a, const char *order, const char *text) {
    struct board_view *v = board_begin(a->board);
    board_text(v->wipe_order, "%s", order ? order : "");
    board_text(v->wipe_text, "%s", text);
    board_end(a->board);
}

static int erase_set_state(struct agent *a, enum device_state state) {
    if (a->device.state == state)
        return 0;
    a->device.state = state;
    int r = device_save(a->state_dir, &a->device);
    agent_show(a);
    return r;
}

/* A journal that cannot be true erases nothing; the server repeats an order that is. */
static int erase_set_aside(struct agent *a) {
    log_error("%s; nothing is erased because of it", err_text());
    activity_add(a->state_dir, "refused",
                 "A wipe journal on this device was not genuine and was set aside: %s.", err_text());
    int r = wipe_set_aside(a->state_dir);
    return r < 0 || a->device.state != DEVICE_WIPING ? r
                                                     : erase_set_state(a, device_state_at_rest(&a->device));
}

static int erase_run(struct agent *a, cJSON **ret_result) {
    static const char *const kept[] = {KEYRING_DEVICE_KEY, KEYRING_DEVICE_CERTIFICATE, NULL};
    const struct wipe_target target = {.state_dir = a->state_dir,
                                       .keyring = &a->keyring,
                                       .vault = &a->vault,
                                       .kept_kinds = kept,
                                       .kill_mail_child = erase_kill_mail_child,
                                       .remove_account = erase_remove_account,
                                       .count_account = erase_count_account,
                                       .userdata = a};
    a->credential = false;
    return wipe_run(&target, ret_result);
}

/* Signs what became of the wipe and hands it to the delivery thread. The final receipt is on disk before it
 * is sent. */
static int erase_receipt(struct agent *a, const cJSON *result, const struct erase_cause *cause, bool last) {
    char id[RANDOM_ID_SIZE];
    cleanup(EVP_PKEY) EVP_PKEY *key = identity_key(a->identity);
    cleanup(cJSON) cJSON *receipt =
        key ? receipt_make(result,
                           &(struct receipt_about){.id = random_id(id),
                                                   .order = cause->order,
                                                   .cause = cause->kind,
                                                   .kind = order_kind_name(ORDER_WIPE),
                                                   .device = a->device.id},
                           key)
            : NULL;
    if (!receipt)
        return ERR_KEYRING;
    if (last) {
        cleanup(free) char *text = json_print(receipt);
        int r = text ? file_write_atomic(a->state_dir, ERASE_RECEIPT, text, strlen(text), 0600)
                     : err_set(ERR_SYSTEM, "out of memory");
        if (r < 0)
            return r;
    }
    outbox_receipt(a->outbox, steal(receipt), cause->order, last);
    return 0;
}

/* A failure is told when it is another one than before, not at every try. */
static void erase_tell_failure(struct agent *a, const cJSON *result, const struct erase_cause *cause,
                               const char *text) {
    if (!a->loaded || strcmp(a->told, text) == 0)
        return;
    if (erase_receipt(a, result, cause, false) < 0)
        log_warning("cannot tell the server: %s, ignoring", err_text());
    else
        board_text(a->told, "%s", text);
}

/* The receipt that an earlier run signed. 1: there is none. */
static int erase_stored_receipt(struct agent *a, const char *order) {
    cleanup(buf) struct buf text = {.max = RECEIPT_MAX * 2};
    cJSON *receipt = NULL;
    int r = file_read(a->state_dir, ERASE_RECEIPT, RECEIPT_MAX * 2, &text);
    if (r == ERR_NOT_FOUND)
        return 1;
    if (r == 0)
        r = json_parse(text.data ? text.data : "", text.len, &receipt);
    if (r < 0) {
        log_warning("the stored receipt is not usable (%s); signing it anew", err_text());
        return 1;
    }
    outbox_receipt(a->outbox, receipt, order, true);
    return 0;
}

static int erase_deliver(struct agent *a, const cJSON *journal, const struct erase_cause *cause) {
    if (a->device.acknowledged)
        return agent_forget(a);
    if (a->receipt_out || !a->loaded)
        return 0; /* on its way; or the keyring has yet to give the device key */
    int r = erase_stored_receipt(a, cause->order);
    if (r == 1)
        r = erase_receipt(a, json_object(journal, "result"), cause, true);
    a->receipt_out = r == 0;
    return r;
}

static int erase_steps(struct agent *a, const struct erase_cause *cause) {
    cleanup(cJSON) cJSON *result = NULL;
    int r = erase_set_state(a, DEVICE_WIPING);
    if (r < 0)
        log_warning("%s; wiping all the same", err_text());
    erase_say(a, cause->order, "the wipe is under way");
    r = erase_run(a, &result);
    if (r < 0)
        return r;
    const char *outcome = json_str(result, "result"), *reason = json_str(result, "reason");
    if (!outcome || strcmp(outcome, "done") != 0) {
        char text[BOARD_TEXT];
        board_text(text, "the wipe is not complete and goes on: %.300s", reason ? reason : "unknown reason");
        erase_say(a, cause->order, text);
        erase_tell_failure(a, result, cause, text);
        return err_set(ERR_SYSTEM, "%s", text);
    }
    const cJSON *removed = json_object(result, "removed");
    activity_add(a->state_dir, "wiped",
                 "The organization's mail, account and mail password were removed (%lld files).",
                 (long long)json_int(removed, "files", 0));
    log_info("the wipe is done");
    erase_say(a, cause->order, "wiped; the receipt is being delivered");
    return erase_set_state(a, DEVICE_WIPED);
}

/*
 * A journal that cannot be written, on a full disk for example, must not save the mail: the order was
 * verified and is in memory. What is done here also makes room. Killed in between, the server repeats the
 * order.
 */
static void erase_unjournaled(struct agent *a) {
    log_error("%s; erasing without the journal", err_text());
    a->credential = false;
    if (child_kill(a->child) < 0)
        log_error("%s; going on", err_text());
    if (vault_destroy_key(&a->vault) < 0)
        log_error("%s; going on", err_text());
    if (keyring_remove(&a->keyring, KEYRING_VAULT_KEY) < 0 ||
        keyring_remove(&a->keyring, KEYRING_MAIL_CREDENTIAL) < 0)
        log_error("%s; going on", err_text());
    if (vault_force_close(&a->vault, NULL) < 0 || vault_remove(&a->vault, NULL) < 0)
        log_error("%s; going on", err_text());
}

/* Puts the cause of a new wipe on disk. */
static int erase_begin(struct agent *a) {
    if (!a->begin)
        return 0;
    (void)fchmod(a->state_dir, 0700); /* ours, whatever somebody made of its mode */
    int r = wipe_begin(a->state_dir, a->begin);
    if (r < 0) {
        erase_unjournaled(a);
        r = wipe_begin(a->state_dir, a->begin);
    }
    if (r < 0)
        return r;
    cJSON_Delete(a->begin);
    a->begin = NULL;
    return 0;
}

int agent_erase(struct agent *a) {
    int r = erase_begin(a);
    if (r < 0)
        return r;
    cleanup(cJSON) cJSON *journal = NULL;
    struct erase_cause cause = {0};
    r = wipe_pending(a->state_dir, &journal);
    if (r == WIPE_PENDING)
        r = erase_check_cause(a, json_object(journal, "cause"), &cause);
    else if (r == 0)
        return a->device.acknowledged ? agent_forget(a) : 0;
    if (r == ERR_INVALID || r == ERR_REFUSED || r == ERR_SIGNATURE)
        return erase_set_aside(a);
    if (r == 0 && a->device.state != DEVICE_WIPED) {
        r = erase_steps(a, &cause);
        if (r < 0)
            return r;
        cJSON *again = NULL; /* with the result, which the receipt is made from */
        r = wipe_pending(a->state_dir, &again);
        if (r != WIPE_PENDING)
            return r < 0 ? r : err_set(ERR_INVALID, "the wipe journal has gone");
        cJSON_Delete(journal);
        journal = again;
        r = erase_check_cause(a, json_object(journal, "cause"), &cause);
    }
    return r < 0 ? r : erase_deliver(a, journal, &cause);
}

void agent_wipe(struct agent *a, const struct order *order, const cJSON *jws, const cJSON *payload) {
    cleanup(cJSON) cJSON *cause = cJSON_CreateObject();
    if (json_add_str(cause, "kind", "order") < 0 ||
        json_add_item(cause, "order", cJSON_Duplicate(payload, true)) < 0 ||
        json_add_item(cause, "jws", cJSON_Duplicate(jws, true)) < 0) {
        log_error("out of memory");
        return;
    }
    log_info("the organization orders a wipe (order %s)", order->id);
    activity_add(a->state_dir, "wipe",
                 "%s ordered the removal of its mail from this device. Reason given: %s",
                 a->device.organization, order->reason[0] ? order->reason : "none");
    cJSON_Delete(a->begin);
    a->begin = steal(cause);
    if (agent_erase(a) < 0)
        log_warning("%s; going on", err_text());
}

int agent_leave(struct agent *a) {
    char at[CLOCK_RFC3339_SIZE];
    if (a->device.state == DEVICE_UNENROLLED)
        return err_set(ERR_WRONG_STATE, "this device is not enrolled; there is nothing to leave");
    if (a->device.state == DEVICE_ENROLLED || a->device.state == DEVICE_LOCKED) {
        cleanup(cJSON) cJSON *cause = cJSON_CreateObject();
        if (json_add_str(cause, "kind", "leave") < 0 ||
            json_add_str(cause, "at", clock_rfc3339(clock_real_ms(), at)) < 0)
            return err_set(ERR_SYSTEM, "out of memory");
        activity_add(a->state_dir, "leave", "You took %s's mail off this device yourself.",
                     a->device.organization);
        cJSON_Delete(a->begin);
        a->begin = steal(cause);
    }
    return agent_erase(a);
}

void agent_wipe_offline(struct agent *a) {
    char at[CLOCK_RFC3339_SIZE];
    cJSON *jws = NULL;
    if (a->begin)
        return;
    cleanup(cJSON) cJSON *cause = cJSON_CreateObject();
    int r = accept_load_jws(a->state_dir, &jws);
    if (r == 0)
        r = json_add_item(cause, "jws", jws) | json_add_str(cause, "kind", "offline") |
            json_add_str(cause, "at", clock_rfc3339(clock_real_ms(), at)) |
            json_add_str(cause, "stamp", a->contact.stamp);
    if (r < 0) {
        log_error("no wipe for want of contact: %s; trying again", err_text());
        return;
    }
    log_warning("without contact for as long as the profile allows: wiping");
    activity_add(
        a->state_dir, "wipe",
        "This device was without contact to %s for %lld days; its profile demands that the mail is removed "
        "then.",
        a->device.organization, (long long)profile_offline_wipe_days(a->profile));
    a->begin = steal(cause);
}

/* In this order, so that a crash in between goes on here: the record, which remembers the acknowledgement,
 * goes last. */
int agent_forget(struct agent *a) {
    if (a->device.state != DEVICE_WIPED)
        return 0;
    a->device.acknowledged = true;
    int r = device_save(a->state_dir, &a->device);
    if (r == 0)
        r = keyring_remove(&a->keyring, KEYRING_DEVICE_KEY);
    if (r >= 0)
        r = keyring_remove(&a->keyring, KEYRING_DEVICE_CERTIFICATE);
    if (r >= 0)
        r = wipe_finish(a->state_dir);
    if (r == 0)
        r = file_remove(a->state_dir, ERASE_RECEIPT);
    if (r == 0)
        r = accept_remove(a->state_dir);
    if (r == 0)
        r = contact_remove(a->state_dir);
    if (r == 0)
        r = device_remove(a->state_dir);
    if (r < 0)
        return r;
    (void)rmdir(a->paths->data); /* empty, unless somebody put something there */
    identity_clear(a->identity);
    trust_finish(&a->trust);
    device_finish(&a->device);
    a->loaded = a->receipt_out = a->duty_out = false;
    a->renew_at = 0;
    agent_forget_contact(a);
    outbox_csr(a->outbox, NULL);
    a->told[0] = '\0';
    struct board_view *v = board_begin(a->board);
    v->connected = false;
    v->last_contact = v->disconnected_since = 0;
    v->imap[0] = v->push[0] = v->last_sync[0] = v->mail_text[0] = '\0';
    v->folders = v->messages = v->pending = v->asks = v->vault_bytes = v->vault_count_after = 0;
    progress_end(&v->progress);
    v->problem_version = 0;
    v->problem[0] = '\0';
    board_text(v->wipe_text, "the organization's mail was removed and the server has the receipt");
    board_end(a->board);
    agent_show(a);
    activity_add(a->state_dir, "unenrolled",
                 "The receipt was acknowledged; this device is no longer enrolled.");
    log_info("unenrolled");
    return 0;
}
