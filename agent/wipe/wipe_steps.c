#include "agent/wipe/wipe_steps.h"
#include "agent/wipe/wipe_journal.h"
#include "platform/base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

__attribute__((format(printf, 2, 3))) static void tell(struct wipe_run *w, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(w->detail, sizeof w->detail, fmt, ap);
    va_end(ap);
}

static int kill_mail_child(struct wipe_run *w) {
    return w->target->kill_mail_child ? w->target->kill_mail_child(w->target->userdata) : WIPE_NOTHING;
}

/* What lies on the disk first: it asks nobody. The keyring may be silent, and then its half is tried again.
 */
static int destroy_key(struct wipe_run *w) {
    int disk = vault_destroy_key(w->target->vault);
    char why[512] = "";
    if (disk < 0)
        (void)snprintf(why, sizeof why, "%s", err_text());
    int keyring = keyring_remove(w->target->keyring, KEYRING_VAULT_KEY);
    static const char *const words[] = {"removed", "not there"};
    tell(w, "key material of the vault %s, key in the keyring %s", disk < 0 ? "not removed" : words[disk],
         keyring < 0 ? "not removed" : words[keyring]);
    if (disk < 0)
        return err_set(disk, "%s", why);
    return keyring < 0 ? keyring : disk == 0 || keyring == 0 ? 0 : WIPE_NOTHING;
}

static int end_holders(struct wipe_run *w) {
    size_t ended = 0;
    int r = vault_end_holders(w->target->vault, w->target->except, &ended);
    if (ended)
        tell(w, "%zu programs that used the vault were ended", ended);
    return r;
}

static int close_vault(struct wipe_run *w) {
    return vault_force_close(w->target->vault, w->target->except);
}

/*
 * What is there is counted and written down before the first file goes, so that the receipt tells the whole
 * even when the removal is interrupted.
 */
static int remember_found(struct wipe_run *w) {
    struct vault_status status;
    if (json_object(w->journal, "found") || vault_describe(w->target->vault, true, &status) < 0)
        return 0;
    cJSON *found = cJSON_CreateObject();
    int r = found ? json_add_int(found, "files", (int64_t)status.files) : err_errno("cannot count the vault");
    if (r == 0)
        r = json_add_int(found, "bytes", (int64_t)status.bytes);
    if (r < 0) {
        cJSON_Delete(found);
        return r;
    }
    r = json_add_item(w->journal, "found", found);
    return r < 0 ? r : wipe_journal_save(w->target->state_dir, w->journal);
}

static int remove_ciphertext(struct wipe_run *w) {
    struct file_removed removed = {0};
    /* Not being able to write the count down is no reason to leave the mail there. */
    (void)remember_found(w);
    int r = vault_remove(w->target->vault, &removed);
    if (removed.files)
        tell(w, "%llu files, %llu bytes", (unsigned long long)removed.files,
             (unsigned long long)removed.bytes);
    return r;
}

static bool is_kept(const struct wipe_target *t, const char *kind) {
    for (const char *const *k = t->kept_kinds; k && *k; k++)
        if (strcmp(*k, kind) == 0)
            return true;
    return false;
}

/* Everything of ours but what signs the receipt, also kinds that this version does not know. */
static int remove_secrets(struct wipe_run *w) {
    struct keyring_kinds kinds;
    int first = keyring_list(w->target->keyring, &kinds);
    if (first < 0)
        return first;
    size_t removed = 0;
    for (size_t i = 0; i < kinds.n; i++) {
        if (is_kept(w->target, kinds.kinds[i]))
            continue;
        int r = keyring_remove(w->target->keyring, kinds.kinds[i]);
        removed += r == 0;
        first = first < 0 || r >= 0 ? first : r;
    }
    if (removed)
        tell(w, "%zu keyring items", removed);
    return first < 0 || removed ? first : WIPE_NOTHING;
}

static int remove_account(struct wipe_run *w) {
    return w->target->remove_account ? w->target->remove_account(w->target->userdata) : WIPE_NOTHING;
}

/* The last step. */

/* Adds a line of what was looked for; the number of what was found, or an error, goes into *bad. */
static int add_check(cJSON *checked, const char *what, int r, uint64_t found, size_t *bad) {
    cJSON *line = cJSON_CreateObject();
    if (!line || !cJSON_AddItemToArray(checked, line)) {
        cJSON_Delete(line);
        return err_set(ERR_SYSTEM, "no memory to look again");
    }
    *bad += r < 0 || found;
    if (json_add_str(line, "what", what) < 0)
        return ERR_SYSTEM;
    if (r >= 0)
        return json_add_int(line, "found", (int64_t)found);
    cJSON *unknown = cJSON_CreateNull();
    int s = json_add_str(line, "error", err_text());
    return unknown ? json_add_item(line, "found", unknown) : s < 0 ? s : ERR_SYSTEM;
}

static int check_vault(const struct wipe_target *t, cJSON *checked, size_t *bad) {
    struct vault_left left = {0};
    int r = vault_look_for_rest(t->vault, &left);
    int s = add_check(checked, "vault-mounts", r, left.mounts, bad);
    if (s == 0)
        s = add_check(checked, "vault-directories", r, left.paths, bad);
    return s < 0 ? s : add_check(checked, "vault-processes", r, left.servers, bad);
}

static int count_secrets(const struct wipe_target *t, uint64_t *ret) {
    struct keyring_kinds kinds = {0};
    int r = keyring_list(t->keyring, &kinds);
    for (size_t i = 0; r == 0 && i < kinds.n; i++)
        *ret += !is_kept(t, kinds.kinds[i]);
    return r;
}

bool wipe_steps_look(const struct wipe_target *target) {
    struct vault_left left;
    uint64_t secrets = 0;
    (void)count_secrets(target, &secrets);
    return vault_look_for_rest(target->vault, &left) == 0 && !left.mounts && !left.paths && !left.servers &&
           !secrets;
}

static int check_keyring(const struct wipe_target *t, cJSON *checked, size_t *bad) {
    uint64_t found = 0;
    int r = count_secrets(t, &found);
    return add_check(checked, "keyring-items", r, found, bad);
}

static int check_leftovers(const struct wipe_target *t, cJSON *checked, size_t *bad) {
    uint64_t found = 0;
    for (const char *const *path = t->leftovers; path && *path; path++) {
        struct stat st;
        found += fstatat(AT_FDCWD, *path, &st, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
    }
    return add_check(checked, "runtime-files", 0, found, bad);
}

static int check_account(const struct wipe_target *t, cJSON *checked, size_t *bad) {
    uint64_t found = 0;
    if (!t->count_account)
        return 0;
    int r = t->count_account(t->userdata, &found);
    return add_check(checked, "account-records", r, found, bad);
}

static int verify(struct wipe_run *w) {
    static int (*const checks[])(const struct wipe_target *, cJSON *,
                                 size_t *) = {check_vault, check_keyring, check_leftovers, check_account};
    cleanup(cJSON) cJSON *checked = cJSON_CreateArray();
    if (!checked)
        return err_set(ERR_SYSTEM, "no memory to look again");
    size_t bad = 0;
    int r = 0;
    for (size_t i = 0; i < sizeof checks / sizeof *checks && r == 0; i++)
        r = checks[i](w->target, checked, &bad);
    if (r < 0)
        return err_set(r, "no memory to look again");
    char first[64] = "";
    const cJSON *line;
    cJSON_ArrayForEach(line, checked) {
        const cJSON *found = cJSON_GetObjectItemCaseSensitive(line, "found");
        if (!first[0] && (!cJSON_IsNumber(found) || found->valuedouble > 0))
            (void)snprintf(first, sizeof first, "%s", json_str(line, "what"));
    }
    cJSON_DeleteItemFromObjectCaseSensitive(w->journal, "checked");
    r = json_add_item(w->journal, "checked", steal(checked));
    if (r < 0)
        return r;
    return bad ? err_set(ERR_WRONG_STATE, "not everything is gone: %s", first) : 0;
}

const struct wipe_step wipe_steps[] = {
    {"kill-mail-child", kill_mail_child},
    {WIPE_STEP_DESTROY_KEY, destroy_key},
    {"end-holders", end_holders},
    {"close-vault", close_vault},
    {"remove-ciphertext", remove_ciphertext},
    {"remove-secrets", remove_secrets},
    {"remove-account", remove_account},
    {"verify", verify},
};
const size_t wipe_steps_n = sizeof wipe_steps / sizeof *wipe_steps;
