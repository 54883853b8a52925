/* Becoming a managed device: the enrollment, and the mail password. */
#include "agent/enroll/enroll.h"
#include "agent/reconcile/agent.h"
#include "agent/state/activity.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/base/file.h"
#include "platform/base/json.h"
#include "platform/base/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/*
 * Written before the key goes into the keyring, removed when the device record is there or the key is gone
 * again. Without it no key is taken back: one in the keyring may belong to an enrollment whose records are
 * out of sight, on a home that is not mounted, say.
 */
#define JOIN_MARK "enrolling"

/* Nothing of a failed enrollment stays in the keyring. */
static void join_undo(struct agent *a) {
    if (keyring_remove(&a->keyring, KEYRING_DEVICE_KEY) < 0 ||
        keyring_remove(&a->keyring, KEYRING_DEVICE_CERTIFICATE) < 0 ||
        file_remove(a->state_dir, JOIN_MARK) < 0)
        log_warning("cannot take back the device key: %s, ignoring", err_text());
}

void agent_undo_enrollment(struct agent *a) {
    struct keyring_status status;
    if (faccessat(a->state_dir, JOIN_MARK, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
        return;
    if (a->device.state != DEVICE_UNENROLLED) { /* it was not cut off: only the mark is left */
        if (file_remove(a->state_dir, JOIN_MARK) < 0)
            log_warning("%s, ignoring", err_text());
        return;
    }
    keyring_status(&a->keyring, &status);
    if (status.available && !status.locked)
        join_undo(a);
}

static int join_store(struct agent *a, struct enrollment *e) {
    int r = keyring_store(&a->keyring, KEYRING_DEVICE_CERTIFICATE, "Satchel: device certificate",
                          e->cert_pem.data, e->cert_pem.len);
    if (r == 0)
        r = device_save(a->state_dir, &e->device); /* from here on the device is enrolled */
    if (r < 0)
        return r;
    device_finish(&a->device);
    a->device = e->device;
    e->device = (struct device){0};
    agent_undo_enrollment(a);
    return agent_open_trust(a);
}

/* The key goes into the keyring before the code is used up: a keyring that cannot store must not cost a code.
 */
static int join_exchange(struct agent *a, const struct link *link, struct buf *key_pem,
                         struct enrollment *ret) {
    cleanup(EVP_PKEY) EVP_PKEY *key = key_generate();
    int r = key ? key_private_pem(key, key_pem) : ERR_SYSTEM;
    if (r == 0)
        r = file_write_atomic(a->state_dir, JOIN_MARK, "", 0, 0600);
    if (r == 0)
        r = keyring_store(&a->keyring, KEYRING_DEVICE_KEY, "Satchel: device key", key_pem->data,
                          key_pem->len);
    if (r == 0)
        r = enroll_run(link, key, a->cancel, ret);
    return r;
}

static int join_new(struct agent *a, const char *text) {
    struct link link;
    int r = link_parse(text, &link);
    if (r == 0)
        r = agent_need_keyring(a);
    if (r == 0)
        r = vault_usable(&a->vault);
    if (r < 0)
        return r;
    cleanup(buf) struct buf key_pem = {.secret = true};
    cleanup(enrollment) struct enrollment e = {0};
    r = join_exchange(a, &link, &key_pem, &e);
    if (r == 0)
        r = join_store(a, &e);
    if (r == 0)
        r = identity_set(a->identity, &a->device, &e.cert_pem, &key_pem);
    if (r < 0 && a->device.state == DEVICE_UNENROLLED) {
        char why[BOARD_TEXT * 2];
        board_text(why, "%s", err_text());
        join_undo(a);
        return err_set(r, "%s", why);
    }
    if (r < 0)
        return r;
    a->loaded = true;
    a->credential = false;
    agent_forget_contact(a);
    agent_note_certificate(a, e.cert_pem.data);
    struct board_view *v = board_begin(a->board);
    v->state_taken = false;
    v->problem[0] = v->wipe_text[0] = v->wipe_order[0] = '\0';
    board_end(a->board);
    agent_show(a);
    log_info("enrolled as device %s", a->device.id);
    activity_add(a->state_dir, "enrolled", "This device was enrolled with %s for %s.", a->device.organization,
                 a->device.address);
    return 0;
}

int agent_enroll(struct agent *a, const char *link) {
    if (a->device.state == DEVICE_UNENROLLED)
        return *link ? join_new(a, link)
                     : err_set(ERR_USAGE, "this device is not enrolled yet: give the link");
    if (a->device.state == DEVICE_LOCKED)
        return err_set(ERR_WRONG_STATE,
                       "this device is enrolled with %s and locked; `satchel status` says why",
                       a->device.organization);
    if (a->device.state != DEVICE_ENROLLED)
        return err_set(ERR_WRONG_STATE, "this device is in the state \"%s\"; wait until it is unenrolled",
                       device_state_name(a->device.state));
    /* Going on with an enrollment whose mail password was not taken; with a link it must be to the same
     * organization. */
    struct link parsed;
    int r = *link ? link_parse(link, &parsed) : 0;
    if (r < 0)
        return r;
    if ((*link && strcmp(parsed.fingerprint, a->device.fingerprint) != 0) || a->credential)
        return err_set(
            ERR_WRONG_STATE,
            "this device is already enrolled with %s; to enroll it anew, use `satchel leave` first",
            a->device.organization);
    return 0;
}

static int join_try(struct agent *a, const char *password) {
    cJSON *account = agent_account(a);
    int r = account ? json_add_str(account, "password", password) : ERR_SYSTEM;
    if (r == 0)
        r = child_try(account, a->cancel);
    json_delete_secret(account);
    return r;
}

int agent_credential(struct agent *a, const char *password) {
    if (a->device.state == DEVICE_LOCKED)
        return err_set(ERR_WRONG_STATE, "this device is locked; `satchel status` says why");
    if (a->device.state != DEVICE_ENROLLED)
        return err_set(ERR_WRONG_STATE, "this device is not enrolled; use `satchel enroll LINK`");
    if (!a->profile)
        return err_set(
            ERR_WRONG_STATE,
            "your organization has not published a mail profile yet, so the password cannot be tried. "
            "It was not stored; use `satchel password` later");
    int r = agent_need_keyring(a);
    if (r == 0)
        r = join_try(a, password);
    if (r == 0)
        r = keyring_store(&a->keyring, KEYRING_MAIL_CREDENTIAL, "Satchel: mail password", password,
                          strlen(password));
    if (r < 0)
        return r;
    a->credential = true;
    a->mail_current = false;
    a->mail_after = 0;
    a->mail_failures = 0;
    activity_add(a->state_dir, "credential",
                 "The mail password was accepted by the mail server and put into the keyring.");
    return 0;
}
