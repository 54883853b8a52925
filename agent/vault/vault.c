#include "agent/vault/vault.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

/* Trees of ours are never nested deeper; a deeper one is not counted further. */
#define VAULT_COUNT_DEPTH 128

int vault_init(struct vault *v, const struct vault_driver *driver, const char *ciphertext,
               const char *mount) {
    if (ciphertext[0] != '/' || mount[0] != '/')
        return err_set(ERR_INVALID, "the paths of the vault are not absolute");
    struct vault made = {.driver = driver, .server = PROCESS_NONE};
    made.ciphertext = strdup(ciphertext);
    made.mount = strdup(mount);
    if (!made.ciphertext || !made.mount) {
        vault_finish(&made);
        return err_errno("cannot use the vault");
    }
    *v = made;
    return 0;
}

void vault_finish(struct vault *v) {
    process_finish(&v->server);
    free(v->ciphertext);
    free(v->mount);
    *v = (struct vault){.server = PROCESS_NONE};
}

const struct vault_driver *vault_choose(const char *ciphertext, const char *mount) {
    static const struct vault_driver *const drivers[] = {&vault_fscrypt, &vault_gocryptfs};
    const size_t n = sizeof drivers / sizeof *drivers;
    cleanup(vault) struct vault v;
    if (vault_init(&v, drivers[n - 1], ciphertext, mount) < 0) {
        v = (struct vault){.server = PROCESS_NONE};
        return drivers[n - 1];
    }
    /* From the last on: of a mount the list of mounts tells, without touching it. */
    for (size_t i = n; i-- > 0;)
        if (drivers[i]->traces(&v))
            return drivers[i];
    for (size_t i = 0; i < n - 1; i++)
        if (drivers[i]->usable(&v) == 0)
            return drivers[i];
    return drivers[n - 1];
}

/* The directory both lie in, made where it is absent. */
static int make_parent(const char *path) {
    char parent[PATH_MAX];
    size_t n = (size_t)(strrchr(path, '/') - path);
    if (n == 0)
        return 0;
    if ((size_t)snprintf(parent, sizeof parent, "%.*s", (int)n, path) >= sizeof parent)
        return err_set(ERR_INVALID, "the path of the vault is too long");
    cleanup(fd) int fd = -1;
    return file_make_dirs(parent, 0700, &fd);
}

static int check_key(const struct buf *key) {
    return key->len == VAULT_KEY_SIZE ? 0 : err_set(ERR_INVALID, "the key of the vault has the wrong length");
}

int vault_usable(struct vault *v) {
    return v->driver->usable(v);
}

bool vault_exists(struct vault *v) {
    return v->driver->exists(v);
}

int vault_create(struct vault *v, const struct buf *key) {
    int r = check_key(key);
    if (r == 0)
        r = make_parent(v->ciphertext);
    if (r == 0)
        r = make_parent(v->mount);
    if (r == 0 && v->driver->exists(v))
        r = err_set(ERR_WRONG_STATE, "there is a vault in %s already", v->ciphertext);
    return r < 0 ? r : v->driver->create(v, key);
}

int vault_open(struct vault *v, const struct buf *key) {
    int r = check_key(key);
    if (r < 0)
        return r;
    r = vault_adopt(v);
    if (r != VAULT_NOTHING)
        return r;
    if (!v->driver->exists(v))
        return err_set(ERR_NOT_FOUND, "there is no vault in %s", v->ciphertext);
    r = make_parent(v->mount);
    if (r == 0)
        r = v->driver->open(v, key);
    v->known = r == 0;
    return r;
}

int vault_adopt(struct vault *v) {
    int r = v->driver->adopt(v);
    v->known = r == 0;
    return r;
}

int vault_holders(struct vault *v, const struct holders_except *except, struct holders *ret) {
    return v->driver->holders(v, except, ret);
}

int vault_close(struct vault *v) {
    return v->driver->close(v);
}

int vault_destroy_key(struct vault *v) {
    return v->driver->destroy_key(v);
}

int vault_end_holders(struct vault *v, const struct holders_except *except, size_t *ended) {
    size_t n = 0;
    int r = v->driver->end_holders(v, except, 0, clock_boot_ms() + VAULT_KILL_MS, &n);
    *ended += n;
    return r < 0 || n ? r : VAULT_NOTHING;
}

int vault_force_close(struct vault *v, const struct holders_except *except) {
    return v->driver->force_close(v, except, clock_boot_ms() + VAULT_DEADLINE_MS);
}

int vault_lock(struct vault *v, const struct holders_except *except, size_t *ended) {
    int64_t polite = clock_boot_ms() + VAULT_POLITE_MS;
    if (v->driver->end_holders(v, except, polite, polite + VAULT_KILL_MS, ended) < 0)
        log_warning("a program that uses the vault does not end: %s; closing the vault all the same",
                    err_text());
    return v->driver->force_close(v, except, clock_boot_ms() + VAULT_DEADLINE_MS);
}

/* True when the path is there, whatever it is. */
static bool is_there(const char *path) {
    struct stat st;
    return fstatat(AT_FDCWD, path, &st, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
}

static const char *encrypted_path(const struct vault *v) {
    return v->driver->in_place ? v->mount : v->ciphertext;
}

int vault_remove(struct vault *v, struct file_removed *count) {
    const char *mail = encrypted_path(v), *other = v->driver->in_place ? v->ciphertext : v->mount;
    bool anything = is_there(mail);
    int r = file_remove_tree(AT_FDCWD, mail, count);
    if (r < 0 && v->driver->in_place) /* not that text: it may have a name of the mail */
        r = err_set(r, "not everything in %s can be removed", mail);
    dev_t device;
    int open = v->driver->is_open(v, &device);
    if (open < 0)
        return r < 0 ? r : open;
    if (open)
        return r < 0 ? r : err_set(ERR_WRONG_STATE, "the vault is still open");
    /* What a program wrote where nothing was mounted is a copy of company mail too. */
    anything = is_there(other) || anything;
    int s = file_remove_tree(AT_FDCWD, other, count);
    if (r == 0 && s < 0)
        r = err_set(s, "not everything in %s can be removed", other);
    if (r < 0)
        return r;
    return anything ? 0 : VAULT_NOTHING;
}

/* Adds what is below the directory `fd`, which it closes. What cannot be read is not counted. */
static void count_below(int fd, int depth, struct file_removed *count) {
    DIR *stream = fdopendir(fd);
    if (!stream) {
        (void)close(fd);
        return;
    }
    struct dirent *entry;
    while ((entry = readdir(stream))) {
        struct stat st;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        if (!S_ISDIR(st.st_mode)) {
            count->files++;
            count->bytes += S_ISREG(st.st_mode) && st.st_nlink == 1 ? (uint64_t)st.st_size : 0;
            continue;
        }
        int below = depth < VAULT_COUNT_DEPTH
                        ? openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                        : -1;
        if (below >= 0)
            count_below(below, depth + 1, count);
    }
    (void)closedir(stream);
}

int vault_describe(struct vault *v, bool count, struct vault_status *ret) {
    struct vault_status status = {
        .driver = v->driver->name, .path = v->mount, .exists = v->driver->exists(v)};
    int r = v->driver->is_open(v, &status.device);
    if (r < 0)
        return r;
    status.open = r > 0;
    struct file_removed sum = {0};
    int fd = count ? open(encrypted_path(v), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
    if (fd >= 0)
        count_below(fd, 0, &sum);
    status.files = sum.files;
    status.bytes = sum.bytes;
    *ret = status;
    return 0;
}

int vault_look_for_rest(struct vault *v, struct vault_left *ret) {
    struct vault_left left = {0};
    dev_t device;
    int open = v->driver->is_open(v, &device);
    int r = open < 0 ? open : v->driver->count_servers(v, &left.servers);
    if (r < 0)
        return r;
    left.mounts = open > 0;
    /* What is mounted is not asked, it may hang: it counts as there. */
    left.paths = (size_t)is_there(v->ciphertext) + (size_t)(open || is_there(v->mount));
    *ret = left;
    return 0;
}
