#include "agent/vault/keydir.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/encode.h"
#include "platform/base/err.h"
#include "platform/base/log.h"
#include "platform/linux/fscrypt.h"
#include "platform/linux/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>

/*
 * The kernel's encryption. The directory `mount` is itself what is encrypted; there is no mount and no
 * server, and opening means telling the kernel the key. That key is in two halves, neither of which says
 * anything about it: the one in the keyring, and the file fscrypt.key in `ciphertext`, so that destroying
 * this file is enough to make the mail unreadable, as it is with gocryptfs. fscrypt.id beside it has the
 * key's identifier, which is not secret: with it the kernel is asked for the key also when the encrypted
 * directory was moved.
 */

#define HALF "fscrypt.key"
#define ID "fscrypt.id"
#define REMOVE_MS 1000 /* for the kernel to begin with it */
#define TREE_DEPTH 128
#define TREE_MAX ((size_t)1 << 24) /* inodes */

static const char *const names[] = {HALF, ID, NULL};

/* Places. */

/* The directory both lie in: the file system that has the key. VAULT_NOTHING where there is none. */
static int parent_path(const struct vault *v, char out[PATH_MAX]) {
    size_t n = (size_t)(strrchr(v->mount, '/') - v->mount);
    return (size_t)snprintf(out, PATH_MAX, "%.*s", n ? (int)n : 1, v->mount) < PATH_MAX
               ? 0
               : err_set(ERR_INVALID, "the path of the vault is too long");
}

static int open_parent(const struct vault *v, int *ret_fd) {
    char path[PATH_MAX];
    int r = parent_path(v, path);
    if (r < 0)
        return r;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR ? VAULT_NOTHING : err_errno("cannot open %s", path);
    *ret_fd = fd;
    return 0;
}

/* What is mounted there is not ours, and may hang: it is not touched. */
static int open_tree(const struct vault *v, int *ret_fd) {
    struct mount mount;
    int mounted = mounts_find(v->mount, &mount);
    if (mounted <= 0)
        return mounted < 0 ? mounted : VAULT_NOTHING;
    int fd = open(v->mount, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? VAULT_NOTHING
                                                                     : err_errno("cannot open %s", v->mount);
    *ret_fd = fd;
    return 0;
}

/* Which key. */

static void id_to_text(const struct fscrypt_id *id, char out[2 * FSCRYPT_ID_SIZE + 1]) {
    for (size_t i = 0; i < FSCRYPT_ID_SIZE; i++)
        (void)snprintf(out + 2 * i, 3, "%02x", id->bytes[i]);
}

static bool id_from_text(const char *text, size_t n, struct fscrypt_id *ret) {
    static const char digits[] = "0123456789abcdef";
    struct fscrypt_id id;
    if (n != sizeof id.bytes * 2)
        return false;
    for (size_t i = 0; i < n; i++) {
        const char *digit = text[i] ? strchr(digits, text[i]) : NULL;
        if (!digit)
            return false;
        unsigned value = (unsigned)(digit - digits);
        id.bytes[i / 2] = (uint8_t)(i % 2 ? (unsigned)id.bytes[i / 2] | value : value << 4);
    }
    *ret = id;
    return true;
}

static bool read_id(const struct vault *v, struct fscrypt_id *ret) {
    cleanup(fd) int dir = -1;
    cleanup(buf) struct buf text = {0};
    return keydir_open(v, &dir) == 0 && file_read(dir, ID, 64, &text) == 0 &&
           id_from_text(text.data, text.len, ret);
}

/* The key of the directory itself; not one that the directory above it has as well. VAULT_NOTHING. */
static int look_at_tree(const struct vault *v, struct fscrypt_id *ret) {
    struct fscrypt_id id, above;
    cleanup(fd) int tree = -1, parent = -1;
    int r = open_tree(v, &tree);
    if (r == 0)
        r = open_parent(v, &parent);
    if (r == 0)
        r = fscrypt_look(tree, &id);
    if (r != 0)
        return r < 0 ? r : VAULT_NOTHING;
    if (fscrypt_look(parent, &above) == 0 && fscrypt_same(&above, &id))
        return VAULT_NOTHING;
    *ret = id;
    return 0;
}

/* What is written down counts more than what lies there, which somebody may have put there. While this
 * process lives, it remembers the key of a vault that is gone. */
static int find_id(struct vault *v, struct fscrypt_id *ret) {
    struct fscrypt_id id;
    int r = read_id(v, &id) ? 0 : look_at_tree(v, &id);
    if (r == VAULT_NOTHING && v->has_key_id) {
        *ret = v->key_id;
        return 0;
    }
    if (r != 0)
        return r;
    *ret = v->key_id = id;
    v->has_key_id = true;
    return 0;
}

static bool fscrypt_traces(struct vault *v) {
    struct fscrypt_id id;
    cleanup(fd) int dir = -1;
    return (keydir_open(v, &dir) == 0 && (keydir_has(dir, HALF) || keydir_has(dir, ID))) ||
           look_at_tree(v, &id) == 0;
}

static bool fscrypt_exists(struct vault *v) {
    struct fscrypt_id written, seen;
    cleanup(fd) int dir = -1;
    return keydir_open(v, &dir) == 0 && keydir_has(dir, HALF) && read_id(v, &written) &&
           look_at_tree(v, &seen) == 0 && fscrypt_same(&written, &seen);
}

/* Can it be done here? */

/* The nearest directory above the vault that is there already: nothing but a probe is made before there is a
 * wish for a vault. */
static int open_nearest(const struct vault *v, char path[PATH_MAX], int *ret_fd) {
    int r = parent_path(v, path);
    for (int fd; r == 0;) {
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        char *slash = strrchr(path, '/');
        if (fd >= 0) {
            *ret_fd = fd;
            return 0;
        }
        if (errno != ENOENT || slash == path)
            return err_errno("cannot open %s", path);
        *slash = '\0';
    }
    return r;
}

/* Encrypts a directory and writes a file into it: the only way to know. */
static int try_in(int dir, const char *name, const char *parent) {
    char raw[FSCRYPT_RAW_SIZE];
    struct fscrypt_id id;
    struct fscrypt_removal kept;
    cleanup(fd) int probe = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (probe < 0)
        return err_errno("cannot open a directory just made");
    random_bytes(raw, sizeof raw);
    int r = fscrypt_add(probe, raw, &id);
    explicit_bzero(raw, sizeof raw);
    if (r < 0)
        return r;
    r = fscrypt_protect(probe, &id);
    if (r == 0) {
        cleanup(fd) int file = openat(probe, "probe", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (file < 0 || write(file, "probe", 5) != 5)
            r = err_errno("a file in it cannot be written");
        (void)unlinkat(probe, "probe", 0);
    }
    (void)fscrypt_remove_by(parent, &id, clock_boot_ms() + REMOVE_MS, &kept);
    return r;
}

static int fscrypt_usable(struct vault *v) {
    char path[PATH_MAX], id[RANDOM_ID_SIZE], name[sizeof ".satchel-probe." + RANDOM_ID_SIZE];
    struct fscrypt_id above;
    cleanup(fd) int dir = -1;
    int r = open_nearest(v, path, &dir);
    if (r == 0)
        r = fscrypt_look(dir, &above);
    if (r == 0)
        return err_set(ERR_WRONG_STATE, "%s is encrypted by the kernel already", path);
    if (r != FSCRYPT_PLAIN)
        return r < 0 ? r
                     : err_set(ERR_WRONG_STATE,
                               "the file system of %s does not offer encryption by the kernel", path);
    (void)snprintf(name, sizeof name, ".satchel-probe.%s", random_id(id));
    if (mkdirat(dir, name, 0700) < 0)
        return err_errno("cannot make a directory in %s", path);
    r = try_in(dir, name, path);
    (void)unlinkat(dir, name, AT_REMOVEDIR);
    return r < 0 ? err_set(ERR_WRONG_STATE, "encryption by the kernel does not work in %s: %s", path,
                           err_text())
                 : 0;
}

/* Create and open. */

/* The key itself, from its two halves. ERR_INVALID when the one on disk is none. */
static int join_halves(int dir, const struct buf *key, struct buf *ret) {
    cleanup(buf) struct buf half = {.secret = true};
    int r = file_read(dir, HALF, 4096, &half);
    if (r < 0)
        return err_context(r == ERR_NOT_FOUND ? ERR_INVALID : r, "the key material of the vault");
    if (half.len != VAULT_KEY_SIZE)
        return err_set(ERR_INVALID, "the key material of the vault is damaged");
    for (size_t i = 0; i < VAULT_KEY_SIZE; i++)
        half.data[i] = (char)(half.data[i] ^ key->data[i]);
    return buf_add(ret, half.data, VAULT_KEY_SIZE);
}

/* An empty directory that was never encrypted: what a creation that was cut off encrypted is of no use. */
static int make_tree(const struct vault *v, int *ret_fd) {
    if (rmdir(v->mount) < 0 && errno != ENOENT)
        return errno == ENOTEMPTY ? err_set(ERR_WRONG_STATE,
                                            "%s, where the vault is to be, is not empty. Move its files away "
                                            "and try again; nothing was changed.",
                                            v->mount)
                                  : err_errno("cannot use %s", v->mount);
    if (mkdir(v->mount, 0700) < 0)
        return err_errno("cannot make %s", v->mount);
    int r = open_tree(v, ret_fd);
    return r > 0 ? err_set(ERR_WRONG_STATE, "%s is not a directory", v->mount) : r;
}

static int make_durable(int tree, const struct vault *v) {
    cleanup(fd) int parent = -1;
    int r = open_parent(v, &parent);
    return r == 0 && fsync(tree) == 0 && fsync(parent) == 0 ? 0 : err_errno("cannot make the vault durable");
}

static int make_half(int dir) {
    cleanup(buf) struct buf half = {.secret = true};
    int r = buf_reserve(&half, VAULT_KEY_SIZE);
    if (r < 0)
        return r;
    random_bytes(half.data, VAULT_KEY_SIZE);
    return file_write_atomic(dir, HALF, half.data, VAULT_KEY_SIZE, 0400);
}

/* What is encrypted with a key whose identifier is not on disk yet is nothing. */
static int fscrypt_create(struct vault *v, const struct buf *key) {
    cleanup(fd) int dir = -1, tree = -1;
    cleanup(buf) struct buf raw = {.secret = true};
    struct fscrypt_id id = {{0}};
    struct fscrypt_removal kept;
    char text[2 * FSCRYPT_ID_SIZE + 1], parent[PATH_MAX];
    int r = fscrypt_usable(v);
    if (r == 0)
        r = parent_path(v, parent);
    if (r == 0)
        r = keydir_make(v, names, &dir);
    if (r == 0)
        r = make_tree(v, &tree);
    if (r == 0)
        r = make_half(dir);
    if (r == 0)
        r = join_halves(dir, key, &raw);
    if (r == 0)
        r = fscrypt_add(tree, raw.data, &id);
    if (r < 0)
        return r;
    id_to_text(&id, text);
    r = file_write_atomic(dir, ID, text, sizeof text - 1, 0600);
    if (r == 0)
        r = fscrypt_protect(tree, &id);
    if (r == 0)
        r = make_durable(tree, v);
    (void)close(steal_fd(&tree));
    (void)fscrypt_remove_by(parent, &id, clock_boot_ms() + VAULT_DEADLINE_MS, &kept);
    v->key_id = id;
    v->has_key_id = true;
    return r;
}

/* A key that is not this vault's is taken back from the kernel. */
static int fscrypt_open(struct vault *v, const struct buf *key) {
    cleanup(fd) int dir = -1, tree = -1;
    cleanup(buf) struct buf raw = {.secret = true};
    struct fscrypt_id id, added;
    struct fscrypt_removal kept;
    int r = keydir_open(v, &dir);
    if (r == 0)
        r = open_tree(v, &tree);
    if (r != 0)
        return r < 0 ? r : err_set(ERR_NOT_FOUND, "there is no vault in %s", v->ciphertext);
    r = fscrypt_look(tree, &id);
    if (r != 0)
        return r < 0 ? r : err_set(ERR_INVALID, "%s is not encrypted", v->mount);
    r = join_halves(dir, key, &raw);
    if (r == 0)
        r = fscrypt_add(tree, raw.data, &added);
    if (r < 0)
        return r;
    if (fscrypt_same(&id, &added)) {
        v->key_id = id;
        v->has_key_id = true;
        return fchmod(tree, 0700) < 0 ? err_errno("cannot protect %s", v->mount) : 0;
    }
    char parent[PATH_MAX];
    if (parent_path(v, parent) == 0)
        (void)fscrypt_remove_by(parent, &added, clock_boot_ms() + REMOVE_MS, &kept);
    return err_set(ERR_AUTH, "the key in the keyring does not open the vault (or %s/" HALF " is damaged)",
                   v->ciphertext);
}

/* Looking. */

/* VAULT_NOTHING where no key is known. */
static int key_state(struct vault *v, struct fscrypt_id *ret_id, struct fscrypt_state *ret) {
    cleanup(fd) int parent = -1;
    struct fscrypt_id id;
    struct fscrypt_state state;
    int r = open_parent(v, &parent);
    if (r == 0)
        r = find_id(v, &id);
    if (r == 0)
        r = fscrypt_state(parent, &id, &state);
    if (r != 0)
        return r;
    *ret_id = id;
    *ret = state;
    return 0;
}

/* What was closed and is still in use is open: it can be read. */
static int fscrypt_is_open(struct vault *v, dev_t *ret_device) {
    struct fscrypt_id id;
    struct fscrypt_state state;
    struct stat st = {0};
    int r = key_state(v, &id, &state);
    if (r != 0)
        return r < 0 ? r : 0;
    if (!state.present && !state.partly)
        return 0;
    char parent[PATH_MAX];
    r = parent_path(v, parent);
    if (r == 0 && fstatat(AT_FDCWD, v->mount, &st, AT_SYMLINK_NOFOLLOW) < 0 && stat(parent, &st) < 0)
        r = err_errno("cannot look at %s", v->mount);
    if (r < 0)
        return r;
    *ret_device = st.st_dev;
    return 1;
}

/* Of another user's key alone nothing is taken over: with ours it stays when that one goes. */
static int fscrypt_adopt(struct vault *v) {
    struct fscrypt_id id;
    struct fscrypt_state state;
    int r = key_state(v, &id, &state);
    if (r != 0)
        return r;
    return state.present && state.ours && fscrypt_exists(v) ? 0 : VAULT_NOTHING;
}

static int fscrypt_count_servers(struct vault *v, size_t *ret) {
    (void)v;
    *ret = 0;
    return 0;
}

/* Holders. */

struct inodes {
    uint64_t *list; /* owned */
    size_t n, cap;
};

static void inodes_cleanup(struct inodes *i) {
    free(i->list);
}

static int add_inode(struct inodes *i, uint64_t inode) {
    if (i->n == i->cap) {
        size_t cap = i->cap ? 2 * i->cap : 1024;
        uint64_t *list = cap <= TREE_MAX ? reallocarray(i->list, cap, sizeof *list) : NULL;
        if (!list)
            return err_set(ERR_SYSTEM, "no memory to look for programs that use the vault");
        i->list = list;
        i->cap = cap;
    }
    i->list[i->n++] = inode;
    return 0;
}

/* Adds what is below the directory `fd`, which it closes; without the key, too, for it needs no names. */
static int add_inodes_below(int fd, int depth, struct inodes *inodes) {
    cleanup(stream_dir) DIR *stream = fdopendir(fd);
    if (!stream) {
        (void)close(fd);
        return 0;
    }
    struct dirent *entry;
    int r = 0;
    while (r == 0 && (entry = readdir(stream))) {
        if (keydir_is_dot(entry->d_name))
            continue;
        r = add_inode(inodes, entry->d_ino);
        int below = r == 0 && entry->d_type == DT_DIR && depth < TREE_DEPTH
                        ? openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                        : -1;
        if (below >= 0)
            r = add_inodes_below(below, depth + 1, inodes);
    }
    return r;
}

static int compare(const void *a, const void *b) {
    const uint64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

/* What is in the vault: by its key and its path; `thoroughly`, also by the inode of every file. */
struct place {
    struct holders_where where;
    struct fscrypt_id id;
    char path[PATH_MAX];
    struct inodes inodes;
};

static void place_cleanup(struct place *p) {
    inodes_cleanup(&p->inodes);
}

/* VAULT_NOTHING where no key is known. */
static int find_place(struct vault *v, bool thoroughly, struct place *p) {
    struct stat st;
    cleanup(fd) int tree = -1, parent = -1;
    int r = open_parent(v, &parent);
    if (r == 0)
        r = find_id(v, &p->id);
    if (r == 0)
        r = open_tree(v, &tree) < 0 ? ERR_SYSTEM : 0;
    if (r != 0)
        return r;
    if (fstat(tree >= 0 ? tree : parent, &st) < 0)
        return err_errno("cannot look at the vault");
    char self[64];
    (void)snprintf(self, sizeof self, "/proc/self/fd/%d", tree);
    ssize_t n = tree >= 0 ? readlink(self, p->path, sizeof p->path - 1) : 0;
    p->path[n > 0 ? n : 0] = '\0';
    if (thoroughly && tree >= 0)
        r = add_inode(&p->inodes, st.st_ino);
    if (thoroughly && tree >= 0 && r == 0)
        r = add_inodes_below(steal_fd(&tree), 0, &p->inodes);
    if (p->inodes.n)
        qsort(p->inodes.list, p->inodes.n, sizeof *p->inodes.list, compare);
    p->where = (struct holders_where){.device = st.st_dev,
                                      .key = &p->id,
                                      .path = p->path,
                                      .inodes = p->inodes.list,
                                      .n_inodes = p->inodes.n};
    return r;
}

static int find_holders(struct vault *v, bool thoroughly, const struct holders_except *except,
                        struct holders *ret) {
    dev_t device;
    cleanup(place) struct place place = {.path = ""};
    int open = fscrypt_is_open(v, &device);
    int r = open > 0 ? find_place(v, thoroughly, &place) : open;
    if (open > 0 && r == 0)
        return holders_find(&place.where, except, ret);
    if (r >= 0)
        *ret = (struct holders){0};
    return r < 0 ? r : 0;
}

static int fscrypt_holders(struct vault *v, const struct holders_except *except, struct holders *ret) {
    return find_holders(v, false, except, ret);
}

static int end_holders(struct vault *v, bool thoroughly, const struct holders_except *except, int64_t polite,
                       int64_t deadline, size_t *ended) {
    dev_t device;
    cleanup(place) struct place place = {.path = ""};
    int open = fscrypt_is_open(v, &device);
    int r = open > 0 ? find_place(v, thoroughly, &place) : open;
    if (open > 0 && r == 0)
        return holders_end(&place.where, except, polite, deadline, ended);
    return r < 0 ? r : 0;
}

static int fscrypt_end_holders(struct vault *v, const struct holders_except *except, int64_t polite,
                               int64_t deadline, size_t *ended) {
    return end_holders(v, polite != 0, except, polite, deadline, ended);
}

/* Close. */

/* Asks the kernel to forget the key. *ret_closed: whether nothing of the vault can be read now. */
static int try_close(struct vault *v, int64_t deadline, bool *ret_closed) {
    char parent[PATH_MAX];
    struct fscrypt_id id;
    struct fscrypt_state state = {0};
    struct fscrypt_removal kept = {0};
    int r = parent_path(v, parent);
    if (r == 0)
        r = find_id(v, &id);
    if (r == 0)
        r = fscrypt_remove_by(parent, &id, deadline, &kept);
    if (r >= 0)
        r = key_state(v, &id, &state);
    if (r < 0)
        return r;
    *ret_closed = r == VAULT_NOTHING || (!state.present && !state.partly);
    if (r == 0 && state.present)
        return err_set(ERR_REFUSED,
                       "another user of this computer has the key of the vault, too, and only root "
                       "can take it away (fscrypt, or a restart)");
    return 0;
}

static int fscrypt_close(struct vault *v) {
    dev_t device;
    bool closed = false;
    int r = fscrypt_is_open(v, &device);
    if (r <= 0)
        return r < 0 ? r : VAULT_NOTHING;
    cleanup(holders) struct holders h = {0};
    r = find_holders(v, true, NULL, &h);
    if (r < 0 || h.n)
        return r < 0 ? r : holders_refuse(&h, "the vault");
    r = try_close(v, clock_boot_ms() + VAULT_DEADLINE_MS, &closed);
    return r < 0 || closed ? r : holders_refuse(&h, "the vault");
}

/*
 * The key first: what is not open is unreadable from then on, and nothing new can be opened. Then those who
 * have files open, and again until the kernel says that nobody has. Who was killed lets go a moment after its
 * end.
 */
static int fscrypt_force_close(struct vault *v, const struct holders_except *except, int64_t deadline) {
    dev_t device;
    bool closed = false;
    if (v->server.pid)
        (void)process_wait(&v->server, deadline, NULL);
    int r = fscrypt_is_open(v, &device);
    if (r <= 0)
        return r < 0 ? r : VAULT_NOTHING;
    /* Looking for what cannot be seen helps nobody. */
    int64_t patience = clock_boot_ms() + 2 * VAULT_KILL_MS;
    for (int i = 0;; i++) {
        size_t ended = 0;
        int64_t soon = clock_boot_ms() + VAULT_KILL_MS;
        (void)try_close(v, deadline, &closed);
        if (closed)
            return 0;
        int s = end_holders(v, i > 0, except, 0, soon < deadline ? soon : deadline, &ended);
        if (s < 0)
            log_warning("a program that uses the vault does not end: %s", err_text());
        if (clock_left(patience) == 0 || clock_left(deadline) == 0)
            break;
        (void)poll(NULL, 0, ended || i == 0 ? 0 : 50);
    }
    r = try_close(v, deadline, &closed);
    return r < 0 || closed
               ? r
               : err_set(ERR_TIMEOUT, "files of the vault are in use by something that cannot be seen");
}

/* Destroy. */

/* The kernel's copy of the key: its bytes go at once, whatever then takes the kernel long, with much mail or
 * a slow disk. That is waited for at the close. */
static void take_from_kernel(struct vault *v, const char *parent, const struct fscrypt_id *id) {
    struct fscrypt_id same;
    struct fscrypt_state state;
    int64_t deadline = clock_boot_ms() + REMOVE_MS;
    if (v->server.pid)
        (void)process_wait(&v->server, 0, NULL);
    int r = v->server.pid ? 0 : fscrypt_remove_begin(parent, id, &v->server);
    while (r == 0 && key_state(v, &same, &state) == 0 && state.present && clock_left(deadline) > 0) {
        struct pollfd ended = {.fd = v->server.pidfd, .events = POLLIN};
        if (poll(&ended, 1, 1) > 0)
            break;
    }
    if (r < 0)
        log_warning("the kernel still has the key of the vault: %s; going on", err_text());
}

/* What is on the disk first: it asks nobody. */
static int fscrypt_destroy_key(struct vault *v) {
    struct fscrypt_id id;
    char parent[PATH_MAX];
    int known = find_id(v, &id);
    int r = keydir_destroy(v, HALF);
    char text[512];
    (void)snprintf(text, sizeof text, "%s", err_text());
    if (known == 0 && parent_path(v, parent) == 0)
        take_from_kernel(v, parent, &id);
    return r < 0 ? err_set(r, "%s", text) : r;
}

const struct vault_driver vault_fscrypt = {
    .name = "fscrypt",
    .in_place = true,
    .usable = fscrypt_usable,
    .traces = fscrypt_traces,
    .exists = fscrypt_exists,
    .create = fscrypt_create,
    .open = fscrypt_open,
    .adopt = fscrypt_adopt,
    .holders = fscrypt_holders,
    .end_holders = fscrypt_end_holders,
    .close = fscrypt_close,
    .force_close = fscrypt_force_close,
    .destroy_key = fscrypt_destroy_key,
    .is_open = fscrypt_is_open,
    .count_servers = fscrypt_count_servers,
};
