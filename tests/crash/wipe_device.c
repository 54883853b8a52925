/*
 * A small device for the crash test: a real vault, a real keyring, real files, and the wipe. wipe_device VERB
 * DIR ...
 *
 *   setup DIR CANARY   makes vault and keyring items, puts letters with the canary into the vault, leaves it
 * open close DIR          closes the vault hold DIR           holds the vault (open file, mapping, working
 * directory, a child) until killed; says "ready" wipe DIR           begins a wipe unless one is pending and
 * runs it; prints the result finish DIR         the receipt was acknowledged
 *
 * The state, the data and the runtime directory lie below DIR. With SATCHEL_TEST_CRASH_AT=N the process kills
 * itself after the N-th durable step (wipe_hook.c). The driver of the vault is the one that vault_choose()
 * takes there.
 */
#include "agent/wipe/wipe.h"
#include "platform/base/cleanup.h"
#include "platform/base/encode.h"
#include "platform/base/err.h"
#include "platform/base/log.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#define LETTERS 40

struct device {
    char root[256];
    int state_dir;
    struct vault vault;
    struct keyring keyring;
};

static void path_of(const struct device *d, const char *name, char out[PATH_MAX]) {
    (void)snprintf(out, PATH_MAX, "%s/%s", d->root, name);
}

/* The real driver, with a fault: the function that SATCHEL_TEST_FAULT names says no, each time. */
static struct vault_driver faulty;

static int fault(void) {
    return err_set(ERR_SYSTEM, "the disk says no");
}

static int fail_end_holders(struct vault *v, const struct holders_except *except, int64_t polite,
                            int64_t deadline, size_t *ended) {
    (void)v, (void)except, (void)polite, (void)deadline, (void)ended;
    return fault();
}

static int fail_force_close(struct vault *v, const struct holders_except *except, int64_t deadline) {
    (void)v, (void)except, (void)deadline;
    return fault();
}

static int fail_destroy_key(struct vault *v) {
    (void)v;
    return fault();
}

static int fail_is_open(struct vault *v, dev_t *ret_device) {
    (void)v, (void)ret_device;
    return fault();
}

static int fail_count_servers(struct vault *v, size_t *ret) {
    (void)v, (void)ret;
    return fault();
}

static const struct vault_driver *with_faults(const struct vault_driver *real) {
    const char *name = getenv("SATCHEL_TEST_FAULT");
    faulty = *real;
    if (!name)
        return real;
    if (strcmp(name, "end_holders") == 0)
        faulty.end_holders = fail_end_holders;
    else if (strcmp(name, "force_close") == 0)
        faulty.force_close = fail_force_close;
    else if (strcmp(name, "destroy_key") == 0)
        faulty.destroy_key = fail_destroy_key;
    else if (strcmp(name, "is_open") == 0)
        faulty.is_open = fail_is_open;
    else if (strcmp(name, "count_servers") == 0)
        faulty.count_servers = fail_count_servers;
    return &faulty;
}

static int device_open(struct device *d, const char *root) {
    char state[PATH_MAX], ciphertext[PATH_MAX], mount[PATH_MAX];
    (void)snprintf(d->root, sizeof d->root, "%s", root);
    path_of(d, "state/satchel", state);
    path_of(d, "data/satchel/vault.enc", ciphertext);
    path_of(d, "data/satchel/vault", mount);
    keyring_libsecret_init(&d->keyring);
    int r = file_make_dirs(state, 0700, &d->state_dir);
    return r < 0 ? r : vault_init(&d->vault, with_faults(vault_choose(ciphertext, mount)), ciphertext, mount);
}

static int write_file(const char *path, const char *text) {
    return file_write_atomic(AT_FDCWD, path, text, strlen(text), 0600);
}

/* What remove_account takes out: a client's configuration and a file in the runtime directory. */
static const char *const account_files[] = {"home/.client/account", "run/satchel-gateway"};

static int make_account(const struct device *d) {
    char path[PATH_MAX];
    cleanup(fd) int client = -1, runtime = -1;
    path_of(d, "home/.client", path);
    int r = file_make_dirs(path, 0700, &client);
    path_of(d, "run", path);
    if (r == 0)
        r = file_make_dirs(path, 0700, &runtime);
    for (size_t i = 0; r == 0 && i < 2; i++) {
        path_of(d, account_files[i], path);
        r = write_file(path, "managed by Satchel\n");
    }
    return r;
}

static int remove_account(void *userdata) {
    const struct device *d = userdata;
    int r = WIPE_NOTHING;
    for (size_t i = 0; i < 2; i++) {
        char path[PATH_MAX];
        path_of(d, account_files[i], path);
        if (unlink(path) == 0)
            r = 0;
    }
    return r;
}

static int count_account(void *userdata, uint64_t *ret) {
    const struct device *d = userdata;
    for (size_t i = 0; i < 2; i++) {
        char path[PATH_MAX];
        path_of(d, account_files[i], path);
        *ret += access(path, F_OK) == 0;
    }
    return 0;
}

static int store_secrets(struct device *d, struct buf *key) {
    char bytes[VAULT_KEY_SIZE];
    random_bytes(bytes, sizeof bytes);
    key->secret = true;
    int r = buf_add(key, bytes, sizeof bytes);
    static const char *const kinds[] = {KEYRING_DEVICE_KEY, KEYRING_DEVICE_CERTIFICATE,
                                        KEYRING_MAIL_CREDENTIAL};
    for (size_t i = 0; r == 0 && i < 3; i++)
        r = keyring_store(&d->keyring, kinds[i], "Satchel", kinds[i], strlen(kinds[i]));
    return r < 0 ? r : keyring_store(&d->keyring, KEYRING_VAULT_KEY, "Satchel: vault", key->data, key->len);
}

/* Without fsync: there are many, and the test does not pull the plug. */
static int write_letter(int dir, const char *name, const char *text) {
    cleanup(fd) int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text)
               ? 0
               : err_errno("cannot write a letter");
}

static int verb_setup(struct device *d, const char *canary) {
    cleanup(buf) struct buf key = {0};
    int r = store_secrets(d, &key);
    if (r == 0)
        r = vault_create(&d->vault, &key);
    if (r == 0)
        r = vault_open(&d->vault, &key);
    char path[PATH_MAX];
    for (int i = 0; r == 0 && i < LETTERS; i++) {
        cleanup(fd) int dir = -1;
        (void)snprintf(path, sizeof path, "%s/mail-%d/cur", d->vault.mount, i % 4);
        r = file_make_dirs(path, 0700, &dir);
        (void)snprintf(path, sizeof path, "letter-%d-%s", i, canary);
        if (r == 0)
            r = write_letter(dir, path, canary);
    }
    return r < 0 ? r : make_account(d);
}

static int verb_hold(struct device *d, const char *canary) {
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/mail-0/cur/letter-0-%s", d->vault.mount, canary);
    pid_t child = fork();
    if (child == 0)
        for (;;)
            (void)pause();
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || chdir(d->vault.mount) < 0)
        return err_errno("cannot hold the vault");
    volatile const char *mapped = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
    if (mapped == MAP_FAILED || mapped[0] != canary[0])
        return err_errno("cannot map a letter");
    (void)printf("ready %d\n", (int)child);
    (void)fflush(stdout);
    for (;;)
        (void)pause();
}

static int verb_wipe(struct device *d) {
    static const char *const kept[] = {KEYRING_DEVICE_KEY, KEYRING_DEVICE_CERTIFICATE, NULL};
    char runtime[PATH_MAX];
    path_of(d, account_files[1], runtime);
    const char *const leftovers[] = {runtime, NULL};
    const struct wipe_target target = {
        .state_dir = d->state_dir,
        .keyring = &d->keyring,
        .vault = &d->vault,
        .kept_kinds = kept,
        .leftovers = leftovers,
        .remove_account = remove_account,
        .count_account = count_account,
        .userdata = d,
    };
    cleanup(cJSON) cJSON *cause = cJSON_CreateObject(), *result = NULL;
    int r = json_add_str(cause, "order", "o-1");
    if (r == 0)
        r = wipe_begin(d->state_dir, cause);
    if (r >= 0)
        r = wipe_run(&target, &result);
    if (r < 0)
        return r;
    cleanup(free) char *text = json_print(result);
    return text && puts(text) >= 0 ? 0 : err_set(ERR_SYSTEM, "no memory");
}

int main(int argc, char **argv) {
    const char *verb = argc >= 3 ? argv[1] : "";
    struct device d = {.state_dir = -1};
    log_init("wipe-device", LOG_LEVEL_INFO);
    int r = argc >= 3 ? device_open(&d, argv[2]) : err_set(ERR_USAGE, "usage: wipe_device VERB DIR [CANARY]");
    if (r == 0 && strcmp(verb, "setup") == 0 && argc == 4)
        r = verb_setup(&d, argv[3]);
    else if (r == 0 && strcmp(verb, "hold") == 0 && argc == 4)
        r = verb_hold(&d, argv[3]);
    else if (r == 0 && strcmp(verb, "close") == 0)
        r = vault_close(&d.vault);
    else if (r == 0 && strcmp(verb, "wipe") == 0)
        r = verb_wipe(&d);
    else if (r == 0 && strcmp(verb, "finish") == 0)
        r = wipe_finish(d.state_dir);
    else if (r == 0)
        r = err_set(ERR_USAGE, "unknown verb %s", verb);
    if (r < 0)
        log_error("%s", err_text());
    vault_finish(&d.vault);
    if (d.state_dir >= 0)
        (void)close(d.state_dir);
    return err_exit(r);
}
