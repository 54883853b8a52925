#include "agent/reconcile/agent.h"
#include "agent/channel/channel.h"
#include "agent/profile/accept.h"
#include "agent/state/activity.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/base/json.h"
#include "platform/base/log.h"
#include "server-api/contract/cert.h"
#include "server-api/contract/profile.h"

#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

int agent_init(struct agent *a) {
    a->retry_at = INT64_MAX;
    a->cancel = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (a->cancel < 0)
        return err_errno("cannot make an eventfd");
    keyring_libsecret_init(&a->keyring);
    return vault_init(&a->vault, vault_choose(a->paths->ciphertext, a->paths->vault), a->paths->ciphertext,
                      a->paths->vault);
}

void agent_finish(struct agent *a) {
    child_stop(a->child);
    cJSON_Delete(a->profile);
    cJSON_Delete(a->begin);
    trust_finish(&a->trust);
    device_finish(&a->device);
    vault_finish(&a->vault);
    (void)close(a->cancel);
}

int agent_open_trust(struct agent *a) {
    cleanup(X509) X509 *root = cert_from_pem(a->device.root_pem, strlen(a->device.root_pem));
    char fingerprint[KEY_FINGERPRINT_SIZE];
    if (!root)
        return err_context(ERR_INVALID, "the stored root certificate");
    int r = cert_key_fingerprint(root, fingerprint);
    if (r == 0 && strcmp(fingerprint, a->device.fingerprint) != 0)
        r = err_set(ERR_INVALID, "the stored root certificate is not the one that was pinned");
    struct trust trust;
    if (r == 0)
        r = trust_open(a->device.trust, X509_get0_pubkey(root), &trust);
    if (r < 0)
        return r;
    trust_finish(&a->trust);
    a->trust = trust;
    return 0;
}

int agent_need_keyring(struct agent *a) {
    struct keyring_status status;
    keyring_status(&a->keyring, &status);
    struct board_view *v = board_begin(a->board);
    v->keyring_available = status.available;
    v->keyring_locked = status.locked;
    board_end(a->board);
    if (!status.available)
        return err_context(ERR_KEYRING, "no keyring to keep secrets in, so nothing was stored");
    if (status.locked)
        return err_set(ERR_KEYRING,
                       "the keyring is locked, so nothing was stored. Unlock it (log in again, or open your "
                       "password manager) and try again");
    return 0;
}

int agent_load(struct agent *a) {
    int r = device_load(a->state_dir, &a->device);
    if (r == 0 && a->device.state != DEVICE_UNENROLLED)
        r = agent_open_trust(a);
    if (r < 0)
        return r;
    if (a->device.state == DEVICE_ENROLLED || a->device.state == DEVICE_LOCKED) {
        r = accept_load(a->state_dir, &a->trust, &a->profile);
        if (r < 0) {
            log_error("%s; waiting for the server to send it again", err_text());
            activity_add(a->state_dir, "profile",
                         "The stored mail profile was not usable and is fetched again: %s", err_text());
        }
    }
    agent_show(a);
    return 0;
}

/* The identity and the presence of the credential, from the keyring: after a start it may still be locked. */
static int agent_load_secrets(struct agent *a) {
    cleanup(buf) struct buf key = {.secret = true}, cert = {0}, credential = {.secret = true};
    int r = agent_need_keyring(a);
    if (r == 0)
        r = keyring_load(&a->keyring, KEYRING_DEVICE_KEY, &key);
    if (r == 0)
        r = keyring_load(&a->keyring, KEYRING_DEVICE_CERTIFICATE, &cert);
    if (r == ERR_NOT_FOUND)
        return err_set(
            ERR_KEYRING,
            "the device key is no longer in the keyring. Ask your administrator for a new enrollment link");
    if (r < 0)
        return r;
    r = keyring_load(&a->keyring, KEYRING_MAIL_CREDENTIAL, &credential);
    if (r < 0 && r != ERR_NOT_FOUND)
        return r;
    a->credential = r == 0;
    r = identity_set(a->identity, &a->device, &cert, &key);
    a->loaded = r == 0;
    if (r == 0)
        agent_note_certificate(a, cert.data);
    return r;
}

static void agent_show_profile(const struct agent *a, struct board_view *v) {
    v->profile_version = a->profile ? profile_version(a->profile) : 0;
    board_text(v->profile_id, "%s", a->profile ? profile_id(a->profile) : "");
    v->check_in_seconds = a->profile ? profile_check_in_seconds(a->profile) : 0;
    v->clients[0] = '\0';
    const cJSON *clients = json_array(a->profile, "clients"), *item;
    cJSON_ArrayForEach(item, clients) {
        size_t n = strlen(v->clients);
        if (cJSON_IsString(item) && n + strlen(item->valuestring) + 2 < sizeof v->clients)
            (void)snprintf(v->clients + n, sizeof v->clients - n, "%s ", item->valuestring);
    }
}

void agent_show(struct agent *a) {
    struct vault_status vault = {0};
    if (vault_describe(&a->vault, false, &vault) < 0)
        log_warning("cannot look at the vault: %s, ignoring", err_text());
    struct board_view *v = board_begin(a->board);
    v->state = a->device.state;
    board_text(v->organization, "%s", a->device.organization);
    board_text(v->device, "%s", a->device.id);
    board_text(v->server, "%s", a->device.server);
    board_text(v->login, "%s", a->device.login);
    board_text(v->address, "%s", a->device.address);
    agent_show_profile(a, v);
    v->lock_ordered = a->device.lock.ordered;
    v->lock_offline = a->device.lock.offline;
    v->lock_since = a->device.lock.since;
    board_text(v->lock_reason, "%s", a->device.lock.reason);
    v->credential = a->credential;
    v->vault_open = vault.open;
    board_text(v->vault_driver, "%s", a->vault.driver->name);
    board_text(v->vault_path, "%s", a->paths->vault);
    board_end(a->board);
}

static bool agent_wants_secrets(const struct agent *a) {
    return a->device.state != DEVICE_UNENROLLED && !a->loaded;
}

void agent_reconcile(struct agent *a) {
    int r = 0;
    agent_undo_enrollment(a);
    int64_t absent = agent_absent(a);
    /* An unfinished wipe needs nobody: it is not held up by a keyring that does not answer. */
    if (a->device.state != DEVICE_UNENROLLED)
        r = agent_erase(a);
    if (r == 0 && agent_wants_secrets(a)) {
        if (agent_lock(a) < 0) /* nor is a lock */
            log_warning("%s; trying again", err_text());
        r = agent_load_secrets(a);
        absent = agent_absent(a); /* with the keyring's copy, before anything is opened */
    }
    if (r == 0 && a->device.state == DEVICE_WIPED)
        r = agent_erase(a);
    if (r == 0)
        r = agent_lock(a);
    if (r == 0)
        r = agent_apply(a);
    a->failures = r < 0 ? a->failures + 1 : 0;
    if (r < 0) {
        a->retry_at = clock_boot_ms() + channel_backoff(a->failures);
        log_warning("%s; trying again", err_text());
    } else {
        a->retry_at = r > 0 ? a->mail_after : INT64_MAX;
    }
    int64_t look = agent_renew(a);
    look = absent < look ? absent : look;
    if (look < a->retry_at)
        a->retry_at = look;
    struct board_view *v = board_begin(a->board);
    board_text(v->work, "%s", r < 0 ? err_text() : "");
    board_end(a->board);
    agent_show(a);
}
