#include "agent/cli/examine.h"
#include "agent/vault/vault.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/keyring/keyring.h"
#include "platform/linux/sandbox.h"
#include "platform/linux/swap.h"

#include <limits.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#ifndef F2FS_SUPER_MAGIC
#define F2FS_SUPER_MAGIC 0xF2F52010
#endif

#define KEYRING_MS 5000

const char *examine_state_name(enum examine_state state) {
    static const char *const names[] = {
        [EXAMINE_OK] = "ok", [EXAMINE_HINT] = "hint", [EXAMINE_ATTENTION] = "attention"};
    return names[state];
}

__attribute__((format(printf, 5, 6))) static void tell(const struct examine *e, const char *what,
                                                       enum examine_state state, const char *advice,
                                                       const char *fmt, ...) {
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    e->tell(e->userdata, what, state, text, advice);
}

/* The agent and whom it talks to. */

static void examine_agent(const struct examine *e) {
    if (e->status)
        tell(e, "agent", EXAMINE_OK, NULL, "satcheld is running; this device is %s",
             json_str(e->status, "state"));
    else if (e->enrolled)
        tell(e, "agent", EXAMINE_ATTENTION,
             "Start it: `satchel status` does; to have it at every login, `systemctl --user enable --now "
             "satcheld.service`.",
             "this device is enrolled and satcheld is not running: no mail comes, and no order of the "
             "organization");
    else
        tell(e, "agent", EXAMINE_OK, NULL, "this device is not enrolled, so satcheld need not run");
    const char *problem = json_str(e->status, "problem");
    if (problem)
        tell(e, "agent", EXAMINE_ATTENTION,
             "satcheld tries again by itself; the sentence says what it waits for.", "%s", problem);
}

static void examine_server(const struct examine *e) {
    const cJSON *server = json_object(e->status, "server");
    const char *text = json_str(server, "text"), *url = json_str(server, "url");
    if (!server)
        return;
    if (json_bool(server, "connected", false))
        tell(e, "server", EXAMINE_OK, NULL, "connected to %s", url ? url : "the server");
    else
        tell(e, "server", EXAMINE_ATTENTION,
             "Mail goes on without it. Look at the network; where others reach it, ask your administrator.",
             "%s is not reachable%s%s", url ? url : "the server", text ? ": " : "", text ? text : "");
}

static void examine_mail(const struct examine *e) {
    const cJSON *account = json_object(e->status, "account");
    const char *imap = json_str(account, "imap"), *text = json_str(account, "text");
    if (!imap || !*imap)
        return;
    if (strcmp(imap, "ok") == 0 || strcmp(imap, "connecting") == 0)
        tell(e, "mail", EXAMINE_OK, NULL, "the connection to the mail server: %s", imap);
    else
        tell(e, "mail", EXAMINE_ATTENTION,
             strcmp(imap, "auth-failed") == 0 ? "Give the right password: `satchel password`."
                                              : "It is tried again by itself; the text says what is wrong.",
             "the connection to the mail server: %s%s%s", imap, text && *text ? ": " : "", text ? text : "");
}

static void examine_keyring(const struct examine *e) {
    struct keyring keyring;
    struct keyring_status status;
    keyring_libsecret_init(&keyring);
    keyring.timeout_ms = KEYRING_MS;
    keyring_status(&keyring, &status);
    if (!status.available)
        tell(e, "keyring", EXAMINE_ATTENTION,
             "Log in to a desktop with a keyring, or install and start one (gnome-keyring, KWallet, "
             "KeePassXC).",
             "there is no keyring to keep secrets in: %s", err_text());
    else if (status.locked)
        tell(e, "keyring", EXAMINE_ATTENTION, "Unlock it: log in again, or open your password manager.",
             "the keyring is locked");
    else
        tell(e, "keyring", EXAMINE_OK, NULL, "the keyring is there and unlocked");
}

/* The vault. */

/* The block device and whether its file system could have encryption by the kernel, for an advice. */
static bool could_encrypt(const char *path, char *device, size_t size) {
    char near[PATH_MAX], link[64], target[PATH_MAX];
    struct stat st;
    struct statfs fs;
    (void)snprintf(near, sizeof near, "%s", path);
    for (char *slash; stat(near, &st) < 0; *slash = '\0')
        if ((slash = strrchr(near, '/')) == near || !slash)
            return false;
    if (statfs(near, &fs) < 0 ||
        ((unsigned long)fs.f_type != EXT4_SUPER_MAGIC && (unsigned long)fs.f_type != F2FS_SUPER_MAGIC))
        return false;
    (void)snprintf(link, sizeof link, "/sys/dev/block/%u:%u", major(st.st_dev), minor(st.st_dev));
    ssize_t n = readlink(link, target, sizeof target - 1);
    if (n <= 0)
        return false;
    target[n] = '\0';
    const char *slash = strrchr(target, '/');
    return (size_t)snprintf(device, size, "/dev/%s", slash ? slash + 1 : target) < size;
}

static void advise_fscrypt(const struct examine *e, bool exists, const char *why) {
    char device[300], advice[800];
    bool could = could_encrypt(e->paths->data, device, sizeof device);
    if (could)
        (void)snprintf(
            advice, sizeof advice,
            "Faster is encryption by the kernel (fscrypt). If your system does not start from that file "
            "system, root can offer it: `tune2fs -O encrypt %s`. A vault that is made afterwards uses it%s.",
            device, exists ? "; this one stays as it is until the device is enrolled anew" : "");
    tell(e, "vault", could ? EXAMINE_HINT : EXAMINE_OK, could ? advice : NULL,
         "the vault %s by gocryptfs; fscrypt is not possible: %s",
         exists ? "is encrypted" : "would be encrypted", why);
}

static void examine_vault(const struct examine *e) {
    const struct vault_driver *driver = vault_choose(e->paths->ciphertext, e->paths->vault);
    cleanup(vault) struct vault v = {.server = PROCESS_NONE};
    char why[512];
    if (vault_init(&v, &vault_fscrypt, e->paths->ciphertext, e->paths->vault) < 0)
        return;
    bool native = driver == &vault_fscrypt || vault_usable(&v) == 0;
    (void)snprintf(why, sizeof why, "%s", err_text());
    v.driver = driver;
    bool exists = driver->traces(&v);
    if (driver == &vault_fscrypt) {
        tell(e, "vault", EXAMINE_OK, NULL, "the vault %s by the kernel (fscrypt), at full speed",
             exists ? "is encrypted" : "would be encrypted");
        return;
    }
    if (vault_usable(&v) < 0) {
        tell(e, "vault", EXAMINE_ATTENTION,
             "Do what the sentence says; until then mail cannot be kept on this device.", "%s", err_text());
        return;
    }
    if (native)
        tell(e, "vault", EXAMINE_HINT,
             "To have the faster one, leave (`satchel leave`) and enroll anew: the mail is downloaded again.",
             "the vault is encrypted by gocryptfs; encryption by the kernel (fscrypt) would be possible by "
             "now");
    else
        advise_fscrypt(e, exists, why);
    tell(e, "fuse", EXAMINE_OK, NULL, "gocryptfs, fusermount3 and /dev/fuse are there and usable");
}

/* What the kernel enforces. */

static void examine_kernel(const struct examine *e) {
    struct sandbox_state s;
    sandbox_look(&s);
    if (!s.files)
        tell(e, "landlock", EXAMINE_ATTENTION,
             "A kernel from 5.19 on with Landlock switched on (`lsm=landlock,...` on its command line) does.",
             "the kernel has no usable Landlock (version %d): it does not keep the mail process to its files",
             s.landlock);
    else
        tell(e, "landlock", s.outside ? EXAMINE_OK : EXAMINE_HINT,
             s.outside ? NULL : "A newer kernel (6.12) enforces all of it.",
             "Landlock, version %d: the mail process is kept to its files%s%s", s.landlock,
             s.ports ? ", to its server's port" : "",
             s.outside ? ", and from signalling other programs" : "");
    tell(e, "seccomp", s.calls ? EXAMINE_OK : EXAMINE_ATTENTION,
         s.calls ? NULL
                 : "A kernel with CONFIG_SECCOMP_FILTER does; without it the mail process does not start.",
         s.calls ? "the kernel filters the system calls of the mail process"
                 : "the kernel cannot filter system calls");
}

/* The mail child is started by way of /proc/self/exe, and the kernel calls it "exe". */
static bool is_agent(const struct process_info *info, void *userdata) {
    (void)userdata;
    return strcmp(info->name, "satcheld") == 0 ||
           (process_has_argument(info, "satcheld") && process_has_argument(info, "--role=mail"));
}

static void examine_process(const struct examine *e, pid_t pid) {
    cleanup(buf) struct buf text = {0};
    struct process_info info;
    struct sandbox_seen seen;
    if (process_read(pid, &text, &info) != 0 || sandbox_see(pid, &seen) != 0)
        return;
    bool mail = process_has_argument(&info, "--role=mail");
    if (mail)
        tell(e, "enforced", seen.calls && seen.no_new_privileges ? EXAMINE_OK : EXAMINE_ATTENTION,
             seen.calls ? NULL
                        : "It is confined once it has its account; where this stays, restart satcheld.",
             "the mail process (%d) %s", (int)pid,
             seen.calls && seen.no_new_privileges
                 ? "is confined: it can start no program and gain no privilege"
                 : "is not confined");
    tell(e, "core-dumps", seen.no_core ? EXAMINE_OK : EXAMINE_ATTENTION,
         seen.no_core ? NULL : "Restart satcheld; if this stays, tell your administrator.",
         "the %s process (%d) %s", mail ? "mail" : "satcheld", (int)pid,
         seen.no_core ? "leaves no core dump" : "may leave a core dump");
}

static void examine_processes(const struct examine *e) {
    cleanup(process_ids) struct process_ids found = {0};
    if (process_find(is_agent, NULL, &found) < 0)
        return;
    for (size_t i = 0; i < found.n; i++)
        examine_process(e, found.list[i].pid);
}

static void examine_swap(const struct examine *e) {
    struct swaps swaps;
    size_t clear = 0;
    if (swap_look(&swaps) < 0) {
        tell(e, "swap", EXAMINE_HINT, "Look yourself: `swapon --show`.", "%s", err_text());
        return;
    }
    for (size_t i = 0; i < swaps.n; i++) {
        if (swaps.list[i].encrypted)
            continue;
        clear++;
        tell(e, "swap", EXAMINE_ATTENTION,
             "Encrypt it (crypttab(5), \"swap\"), use zram, or switch it off (swapoff(8)).",
             "memory with mail in it may be written to %s, which is not encrypted", swaps.list[i].name);
    }
    if (!clear)
        tell(e, "swap", EXAMINE_OK, NULL, swaps.n ? "the swap space is encrypted" : "there is no swap space");
}

void examine_all(const struct examine *e) {
    examine_agent(e);
    examine_server(e);
    examine_mail(e);
    examine_keyring(e);
    examine_vault(e);
    examine_kernel(e);
    examine_processes(e);
    examine_swap(e);
}
