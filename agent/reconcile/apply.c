/* The plan's steps, taken. */
#include "agent/channel/channel.h"
#include "agent/reconcile/agent.h"
#include "agent/reconcile/plan.h"
#include "agent/state/activity.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/encode.h"
#include "platform/base/err.h"
#include "platform/base/json.h"
#include "platform/base/log.h"
#include "server-api/contract/profile.h"

#include <string.h>

#define APPLY_STEADY_MS 60000 /* a mail child that runs so long is not one that keeps dying */

cJSON *agent_account(const struct agent *a) {
    const struct profile_user user = {
        .login = a->device.login, .address = a->device.address, .name = a->device.name};
    cleanup(cJSON) cJSON *profile = profile_for_user(a->profile, &user);
    const cJSON *incoming = profile ? profile_incoming(profile) : NULL;
    const char *ca = json_str(incoming, "ca");
    cleanup(cJSON) cJSON *account = cJSON_CreateObject();
    int r = json_add_str(account, "host", json_str(incoming, "host")) |
            json_add_int(account, "port", json_int(incoming, "port", 0)) |
            json_add_str(account, "security", json_str(incoming, "security")) |
            json_add_str(account, "login", json_str(json_object(profile, "account"), "login"));
    if (ca)
        r |= json_add_str(account, "ca", ca);
    if (!profile || r < 0) {
        (void)err_set(ERR_SYSTEM, "out of memory");
        return NULL;
    }
    return steal(account);
}

/* A vault that an earlier satcheld left open is taken over, not pulled from under a reader. */
static void apply_look(struct agent *a, struct plan_facts *ret) {
    bool running = child_running(a->child), known = a->vault.known;
    if (running && clock_boot_ms() > a->mail_after + APPLY_STEADY_MS)
        a->mail_failures = 0;
    *ret = (struct plan_facts){.managed = a->device.state == DEVICE_ENROLLED,
                               .profile = a->profile != NULL,
                               .credential = a->credential,
                               .vault_exists = vault_exists(&a->vault),
                               .vault_open = vault_adopt(&a->vault) == 0,
                               .mail_running = running,
                               .mail_current = a->mail_current};
    if (ret->vault_open && !known)
        log_info("took over the open vault");
}

/* The key is stored before the vault is made with it: what cannot be stored cannot be lost. */
static int apply_create_vault(struct agent *a) {
    cleanup(buf) struct buf key = {.secret = true};
    int r = agent_need_keyring(a);
    if (r == 0)
        r = buf_reserve(&key, VAULT_KEY_SIZE);
    if (r < 0)
        return r;
    random_bytes(key.data, VAULT_KEY_SIZE);
    key.len = VAULT_KEY_SIZE;
    r = keyring_store(&a->keyring, KEYRING_VAULT_KEY, "Satchel: vault key", key.data, key.len);
    if (r == 0)
        r = vault_create(&a->vault, &key);
    if (r == 0)
        activity_add(a->state_dir, "vault", "An encrypted vault for the mail was made (%s).",
                     a->vault.driver->name);
    return r;
}

static int apply_open_vault(struct agent *a) {
    cleanup(buf) struct buf key = {.secret = true};
    int r = agent_need_keyring(a);
    if (r == 0)
        r = keyring_load(&a->keyring, KEYRING_VAULT_KEY, &key);
    return r < 0 ? r : vault_open(&a->vault, &key);
}

static int apply_configure(struct agent *a, cJSON **ret) {
    cleanup(buf) struct buf password = {.secret = true};
    struct vault_status status = {0};
    int r = keyring_load(&a->keyring, KEYRING_MAIL_CREDENTIAL, &password);
    if (r == 0)
        r = vault_describe(&a->vault, false, &status);
    if (r == 0 && !status.open)
        r = err_set(ERR_WRONG_STATE, "the vault is not open");
    if (r < 0)
        return r;
    cJSON *message = cJSON_CreateObject(), *account = agent_account(a), *vault = cJSON_CreateObject();
    r = account ? json_add_str(account, "password", password.data) : ERR_SYSTEM;
    r = json_add_item(message, "account", account) | json_add_str(vault, "path", a->paths->vault) |
        json_add_int(vault, "device", (int64_t)status.device) | json_add_item(message, "vault", vault) |
        json_add_str(message, "op", "configure") |
        json_add_int(message, "keep_days", profile_keep_days(a->profile)) | r;
    if (r < 0) {
        json_delete_secret(message);
        return err_set(ERR_SYSTEM, "out of memory");
    }
    *ret = message;
    return 0;
}

/* A child that keeps dying is started ever less often. 1: not yet. */
static int apply_start_mail(struct agent *a) {
    if (clock_boot_ms() < a->mail_after)
        return 1;
    cJSON *message = NULL;
    int r = apply_configure(a, &message);
    if (r == 0)
        r = child_start(a->child, message);
    json_delete_secret(message);
    if (r < 0)
        return r;
    a->mail_current = true;
    a->mail_after = clock_boot_ms() + channel_backoff(++a->mail_failures);
    return 0;
}

static int apply_step(struct agent *a, enum plan_step step) {
    switch (step) {
    case PLAN_STOP_MAIL:
        child_stop(a->child);
        return 0;
    case PLAN_CLOSE_VAULT:
        return vault_close(&a->vault);
    case PLAN_CREATE_VAULT:
        return apply_create_vault(a);
    case PLAN_OPEN_VAULT:
        return apply_open_vault(a);
    case PLAN_START_MAIL:
        return apply_start_mail(a);
    case PLAN_STEPS:
        break;
    }
    return err_set(ERR_INVALID, "an unknown step");
}

int agent_apply(struct agent *a) {
    struct plan_facts facts;
    enum plan_step steps[PLAN_STEPS];
    apply_look(a, &facts);
    size_t n = plan_reconcile(&facts, steps);
    for (size_t i = 0; i < n; i++) {
        log_debug("%s", plan_step_name(steps[i]));
        int r = apply_step(a, steps[i]);
        if (r > 0)
            return r;
        if (r < 0)
            return err_context(r, "cannot %s", plan_step_name(steps[i]));
    }
    return 0;
}
