#include "agent/vault/keydir.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/encode.h"
#include "platform/base/err.h"
#include "platform/base/log.h"
#include "platform/linux/mounts.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

/*
 * gocryptfs runs as a child in a session of its own, so that an open vault outlives this process; it ends by
 * itself when it is unmounted. What ours is, is told by the source name in the list of mounts and by the
 * paths in the arguments of the server. The passphrase is the key in base64url, given through a pipe.
 */

#define SOURCE "satchel-vault"
#define FSTYPE "fuse.gocryptfs"
#define CONF "gocryptfs.conf"
#define DIRIV "gocryptfs.diriv"
#define OUTPUT_MAX 65536

/* Exit statuses of gocryptfs (internal/exitcodes). */
enum { EXIT_MOUNT_POINT = 10, EXIT_LOAD_CONF = 11, EXIT_PASSWORD = 12, EXIT_OPEN_CONF = 23 };

/* FUSE and the programs. */

static int gocryptfs_usable(struct vault *v) {
    (void)v;
    cleanup(free) char *program = NULL;
    if (process_find_program("gocryptfs", &program) < 0)
        return err_set(ERR_WRONG_STATE,
                       "The vault cannot be used: the program gocryptfs is missing. Install the "
                       "package gocryptfs.");
    free(steal(program));
    if (process_find_program("fusermount3", &program) < 0 && process_find_program("fusermount", &program) < 0)
        return err_set(ERR_WRONG_STATE,
                       "FUSE is not available: the program fusermount3 is missing. Install the "
                       "package fuse3.");
    cleanup(fd) int fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (fuse >= 0)
        return 0;
    if (errno == ENOENT || errno == ENODEV || errno == ENXIO)
        return err_set(ERR_WRONG_STATE,
                       "FUSE is not available: /dev/fuse is missing. Ask the administrator to load "
                       "the kernel module fuse and to install the package fuse3.");
    return err_set(ERR_WRONG_STATE,
                   "FUSE is not available: /dev/fuse cannot be opened (%s). Ask the administrator to let "
                   "users open it (mode 0666).",
                   strerror(errno));
}

static bool gocryptfs_exists(struct vault *v) {
    cleanup(fd) int dir = -1;
    return keydir_open(v, &dir) == 0 && keydir_has(dir, CONF) && keydir_has(dir, DIRIV);
}

/* Running gocryptfs. */

/*
 * Where gocryptfs writes what it has to say: memory of a fixed size. Not a pipe, whose end would take an open
 * vault with it when this process goes; not a file, for later lines may name files of the mail. What does not
 * fit fails, which gocryptfs ignores.
 */
static int make_output(int *ret_fd) {
    cleanup(fd) int fd = memfd_create("gocryptfs-output", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || ftruncate(fd, OUTPUT_MAX) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK) < 0)
        return err_errno("cannot start gocryptfs");
    *ret_fd = steal_fd(&fd);
    return 0;
}

/* The last lines of what gocryptfs said, as one line of printable text. */
static const char *read_output(int fd, char *out, size_t size) {
    ssize_t n = pread(fd, out, size - 1, 0);
    size_t len = n > 0 ? strnlen(out, (size_t)n) : 0;
    while (len && isspace((unsigned char)out[len - 1]))
        len--;
    out[len] = '\0';
    for (size_t i = 0; i < len; i++)
        if (!isprint((unsigned char)out[i]))
            out[i] = out[i] == '\n' ? ';' : '?';
    return len ? out : "it gave no reason";
}

static int run(const char *const *argv, const struct buf *key, int output, struct process *ret) {
    cleanup(free) char *program = NULL;
    int r = process_find_program("gocryptfs", &program);
    if (r < 0)
        return r;
    char *passphrase = encode_base64url(key->data, key->len);
    if (!passphrase)
        return err_errno("cannot start gocryptfs");
    const char *path = getenv("PATH");
    char path_entry[4096];
    (void)snprintf(path_entry, sizeof path_entry, "PATH=%s",
                   path && *path ? path : "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
    const char *const env[] = {path_entry, NULL};
    const struct process_fd fds[] = {{.from = output, .to = 1}, {.from = output, .to = 2}};
    const struct process_spawn how = {
        .path = program,
        .argv = argv,
        .env = env,
        .fds = fds,
        .n_fds = 2,
        .input = passphrase,
        .input_len = strlen(passphrase),
        .new_session = true,
        .no_core = true,
    };
    r = process_spawn(&how, ret);
    explicit_bzero(passphrase, strlen(passphrase));
    free(passphrase);
    return r;
}

/* Create. */

static int gocryptfs_create(struct vault *v, const struct buf *key) {
    int r = gocryptfs_usable(v);
    if (r < 0)
        return r;
    static const char *const names[] = {CONF, DIRIV, NULL};
    cleanup(fd) int dir = -1, output = -1;
    r = keydir_make(v, names, &dir);
    if (r == 0)
        r = make_output(&output);
    if (r < 0)
        return r;
    const char *const argv[] = {"gocryptfs", "-init", "-q",          "-nosyslog", "-scryptn",
                                "10",        "--",    v->ciphertext, NULL};
    cleanup(process) struct process p = PROCESS_NONE;
    int status = -1;
    r = run(argv, key, output, &p);
    if (r == 0)
        r = process_wait(&p, clock_boot_ms() + VAULT_DEADLINE_MS, &status);
    if (r == ERR_TIMEOUT)
        (void)process_kill(&p, clock_boot_ms() + 1000);
    if (r < 0)
        return r;
    char text[512];
    if (status != 0)
        return err_set(ERR_SYSTEM, "gocryptfs cannot make the vault: %s",
                       read_output(output, text, sizeof text));
    return fsync(dir) < 0 ? err_errno("cannot make the vault durable") : 0;
}

/* Looking. */

static int gocryptfs_is_open(struct vault *v, dev_t *ret_device) {
    struct mount m;
    int r = mounts_find(v->mount, &m);
    if (r != 0)
        return r < 0 ? r : 0;
    if (strcmp(m.fstype, FSTYPE) != 0 || strcmp(m.source, SOURCE) != 0)
        return 0;
    *ret_device = m.device;
    return 1;
}

/* exe ends in "/gocryptfs", or " (deleted)" behind it after an upgrade of the package. */
static bool is_server(const struct process_info *info, void *userdata) {
    const struct vault *v = userdata;
    const char *slash = strrchr(info->exe, '/');
    bool is_gocryptfs =
        strcmp(info->name, "gocryptfs") == 0 || (slash && strncmp(slash + 1, "gocryptfs", 9) == 0);
    return is_gocryptfs && process_has_argument(info, "-fg") && process_has_argument(info, v->ciphertext) &&
           process_has_argument(info, v->mount);
}

static int find_servers(struct vault *v, struct process_ids *ret) {
    return process_find(is_server, v, ret);
}

static int gocryptfs_count_servers(struct vault *v, size_t *ret) {
    cleanup(process_ids) struct process_ids servers = {0};
    int r = find_servers(v, &servers);
    if (r == 0)
        *ret = servers.n;
    return r;
}

static bool gocryptfs_traces(struct vault *v) {
    cleanup(fd) int dir = -1;
    dev_t device;
    size_t servers = 0;
    return (keydir_open(v, &dir) == 0 &&
            (keydir_has(dir, CONF) || keydir_has(dir, CONF ".tmp") || keydir_has(dir, DIRIV))) ||
           gocryptfs_is_open(v, &device) > 0 || (gocryptfs_count_servers(v, &servers) == 0 && servers);
}

/* Gives every server `grace_ms` to end by itself, then SIGKILL. Adds to *ended. */
static int end_servers(struct vault *v, int grace_ms, int64_t deadline, size_t *ended) {
    int64_t grace = clock_boot_ms() + grace_ms;
    int first = 0;
    if (v->server.pid && process_wait(&v->server, grace_ms ? grace : 0, NULL) == ERR_TIMEOUT)
        first = process_kill(&v->server, deadline);
    cleanup(process_ids) struct process_ids servers = {0};
    int r = find_servers(v, &servers);
    first = first < 0 ? first : r;
    for (size_t i = 0; i < servers.n; i++) {
        cleanup(process) struct process p = PROCESS_NONE;
        r = process_open(servers.list[i], &p);
        if (r != 0)
            continue;
        r = process_wait(&p, grace_ms ? grace : 0, NULL);
        if (r == ERR_TIMEOUT)
            r = process_kill(&p, deadline);
        *ended += r == 0;
        first = first < 0 ? first : r;
    }
    return first;
}

/* Runs in a child, see process_probe(): 0 when the file system answers. */
static int try_directory(const void *arg) {
    struct stat st;
    int fd = open(arg, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd >= 0 && fstat(fd, &st) == 0 ? 0 : errno == ENOTCONN ? 2 : 1;
}

/* Open and adopt. */

static int gocryptfs_adopt(struct vault *v) {
    struct mount m;
    int r = mounts_find(v->mount, &m);
    if (r != 0)
        return r < 0 ? r : VAULT_NOTHING;
    dev_t device;
    r = gocryptfs_is_open(v, &device);
    if (r < 0)
        return r;
    if (r == 0)
        return err_set(ERR_WRONG_STATE, "something else is mounted on %s: %s", v->mount, m.source);
    int result = 0;
    r = process_probe(try_directory, v->mount, clock_boot_ms() + VAULT_PROBE_MS, &result);
    if (r < 0)
        return err_context(r, "the vault is open and cannot be used");
    if (result != 0)
        return VAULT_NOTHING;
    if (v->server.pid)
        return 0;
    cleanup(process_ids) struct process_ids servers = {0};
    r = find_servers(v, &servers);
    if (r < 0)
        return r;
    /* Of several the last one serves the mount; the others were unmounted and are on their way out. */
    size_t last = 0;
    for (size_t i = 1; i < servers.n; i++)
        last = servers.list[i].start_time > servers.list[last].start_time ? i : last;
    r = servers.n ? process_open(servers.list[last], &v->server) : 1;
    return r == 1 ? err_set(ERR_WRONG_STATE, "the vault is open, but its server cannot be found") : r;
}

/* Clears away a mount whose server has died: everything in it fails with ENOTCONN. */
static int clear_dead_mount(struct vault *v) {
    dev_t device;
    int r = gocryptfs_is_open(v, &device);
    if (r <= 0)
        return r;
    log_warning("the vault's server had died; clearing its mount away");
    int64_t deadline = clock_boot_ms() + VAULT_DEADLINE_MS / 2;
    r = mounts_unmount(v->mount, false, deadline);
    if (r == 1)
        r = mounts_unmount(v->mount, true, deadline);
    (void)process_kill(&v->server, deadline);
    return r == 1 ? err_set(ERR_WRONG_STATE, "what is left of the last vault cannot be unmounted from %s",
                            v->mount)
                  : r;
}

static int prepare_mount_point(const struct vault *v) {
    if (mkdir(v->mount, 0700) < 0 && errno != EEXIST)
        return err_errno("cannot make %s", v->mount);
    cleanup(fd) int dir = open(v->mount, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0)
        return err_errno("cannot use %s", v->mount);
    cleanup(stream_dir) DIR *stream = NULL;
    int r = keydir_list(dir, &stream);
    if (r < 0)
        return r;
    struct dirent *entry;
    while ((entry = readdir(stream)))
        if (!keydir_is_dot(entry->d_name))
            return err_set(ERR_WRONG_STATE,
                           "%s, where the vault is to be opened, is not empty. Move its files "
                           "away and try again; nothing was changed.",
                           v->mount);
    return fchmod(dir, 0700) < 0 ? err_errno("cannot protect %s", v->mount) : 0;
}

/* Why gocryptfs ended instead of mounting. */
static int explain(const struct vault *v, int status, int output) {
    char text[512];
    const char *said = read_output(output, text, sizeof text);
    switch (status) {
    case EXIT_PASSWORD:
        return err_set(ERR_AUTH, "the key in the keyring does not open the vault (or %s/" CONF " is damaged)",
                       v->ciphertext);
    case EXIT_LOAD_CONF:
    case EXIT_OPEN_CONF:
        return err_set(ERR_INVALID, "%s/" CONF " is damaged: %s", v->ciphertext, said);
    case EXIT_MOUNT_POINT:
        return err_set(ERR_WRONG_STATE, "the vault cannot be mounted: %s", said);
    default:
        return err_set(ERR_SYSTEM, "gocryptfs cannot open the vault: %s", said);
    }
}

/* From the start of the server until files can be used. */
static int wait_ready(struct vault *v, struct process *server, int output) {
    int64_t deadline = clock_boot_ms() + VAULT_DEADLINE_MS;
    int r = mounts_wait(v->mount, true, server->pidfd, deadline);
    if (r == 1) {
        int status = -1;
        r = process_wait(server, deadline, &status);
        return r < 0 ? r : explain(v, status, output);
    }
    int result = 0;
    if (r == 0)
        r = process_probe(try_directory, v->mount, deadline, &result);
    if (r == 0 && result != 0)
        r = err_set(ERR_SYSTEM, "the vault was mounted and cannot be used");
    return r;
}

static int gocryptfs_open(struct vault *v, const struct buf *key) {
    int r = gocryptfs_usable(v);
    if (r == 0)
        r = clear_dead_mount(v);
    if (r == 0)
        r = prepare_mount_point(v);
    cleanup(fd) int output = -1;
    if (r == 0)
        r = make_output(&output);
    if (r < 0)
        return r;
    const char *const argv[] = {"gocryptfs", "-fg", "-q",          "-nosyslog", "-fsname",
                                SOURCE,      "--",  v->ciphertext, v->mount,    NULL};
    cleanup(process) struct process server = PROCESS_NONE;
    r = run(argv, key, output, &server);
    if (r == 0)
        r = wait_ready(v, &server, output);
    if (r < 0) {
        /* Kept: the first error, not what the clearing up says. */
        char text[768];
        (void)snprintf(text, sizeof text, "%s", err_text());
        (void)process_kill(&server, clock_boot_ms() + 2000);
        dev_t device;
        if (gocryptfs_is_open(v, &device) > 0)
            (void)mounts_unmount(v->mount, true, clock_boot_ms() + 5000);
        return err_set(r, "%s", text);
    }
    v->server = server;
    server = PROCESS_NONE;
    return 0;
}

/* Holders and close. */

static int gocryptfs_holders(struct vault *v, const struct holders_except *except, struct holders *ret) {
    dev_t device;
    int r = gocryptfs_is_open(v, &device);
    if (r > 0)
        return holders_find(&(struct holders_where){.device = device}, except, ret);
    if (r == 0)
        *ret = (struct holders){0};
    return r;
}

static int gocryptfs_end_holders(struct vault *v, const struct holders_except *except, int64_t polite,
                                 int64_t deadline, size_t *ended) {
    dev_t device;
    int r = gocryptfs_is_open(v, &device);
    return r > 0 ? holders_end(&(struct holders_where){.device = device}, except, polite, deadline, ended)
                 : r;
}

static int gocryptfs_close(struct vault *v) {
    dev_t device;
    int r = gocryptfs_is_open(v, &device);
    if (r <= 0)
        return r < 0 ? r : VAULT_NOTHING;
    cleanup(holders) struct holders h = {0};
    r = holders_find(&(struct holders_where){.device = device}, NULL, &h);
    if (r < 0 || h.n)
        return r < 0 ? r : holders_refuse(&h, "the vault");
    int64_t deadline = clock_boot_ms() + VAULT_DEADLINE_MS;
    r = mounts_unmount(v->mount, false, deadline);
    if (r == 1)
        return holders_refuse(&h, "the vault");
    size_t ended = 0;
    return r < 0 ? r : end_servers(v, 5000, deadline, &ended);
}

/* One attempt: end who holds it, unmount. *ret_closed: whether it is closed now. Not 0 when a holder does not
 * end, which is so while the server does not answer: the kernel waits for it. */
static int try_close(struct vault *v, const struct holders_except *except, bool lazy, int64_t deadline,
                     bool *ret_closed) {
    size_t ended = 0;
    int64_t soon = clock_boot_ms() + VAULT_KILL_MS;
    int r = gocryptfs_end_holders(v, except, 0, soon < deadline ? soon : deadline, &ended);
    if (r < 0)
        log_warning("a program that uses the vault does not end: %s", err_text());
    soon = clock_boot_ms() + VAULT_KILL_MS;
    if (mounts_unmount(v->mount, lazy, soon < deadline ? soon : deadline) < 0)
        log_warning("cannot unmount the vault: %s", err_text());
    dev_t device;
    *ret_closed = gocryptfs_is_open(v, &device) == 0;
    return r;
}

static int gocryptfs_force_close(struct vault *v, const struct holders_except *except, int64_t deadline) {
    dev_t device = 0;
    int open = gocryptfs_is_open(v, &device);
    if (open < 0)
        return open;
    size_t ended = 0;
    bool closed = !open;
    for (int i = 0; i < 3 && !closed; i++)
        if (try_close(v, except, false, deadline, &closed) < 0)
            break;
    /* The server first, the lazy unmount last: while the mount can be seen, so can be who holds it. */
    int r = end_servers(v, 0, deadline, &ended);
    if (!closed)
        (void)try_close(v, except, false, deadline, &closed);
    if (!closed) {
        (void)try_close(v, except, true, deadline, &closed);
        int s = holders_end(&(struct holders_where){.device = device}, except, 0, deadline, &ended);
        r = r < 0 ? r : s;
    }
    if (r < 0)
        return r;
    if (!closed)
        return err_set(ERR_TIMEOUT, "the vault cannot be unmounted");
    return open || ended ? 0 : VAULT_NOTHING;
}

/* Destroy. */

static int gocryptfs_destroy_key(struct vault *v) {
    return keydir_destroy(v, CONF); /* also gocryptfs.conf.tmp, gocryptfs.conf.bak, ... */
}

const struct vault_driver vault_gocryptfs = {
    .name = "gocryptfs",
    .usable = gocryptfs_usable,
    .traces = gocryptfs_traces,
    .exists = gocryptfs_exists,
    .create = gocryptfs_create,
    .open = gocryptfs_open,
    .adopt = gocryptfs_adopt,
    .holders = gocryptfs_holders,
    .end_holders = gocryptfs_end_holders,
    .close = gocryptfs_close,
    .force_close = gocryptfs_force_close,
    .destroy_key = gocryptfs_destroy_key,
    .is_open = gocryptfs_is_open,
    .count_servers = gocryptfs_count_servers,
};
