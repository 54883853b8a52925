/*
 * The vault: an encrypted directory (the ciphertext, .../vault.enc) and the place where it is seen in the
 * clear (the mount, .../vault). All mail on the device lies in it. A driver is a const struct of functions;
 * callers use the functions below, which check what is common to all drivers.
 *
 *             .../vault.enc                          .../vault
 * gocryptfs   gocryptfs.conf (the wrapped key), and  empty; the FUSE mount while open
 *             everything, encrypted
 * fscrypt     fscrypt.key (half of the key), and     everything, encrypted by the kernel; while closed the
 * same fscrypt.id (which key, not secret)     files, with names that are none and no way to read them
 *
 * In both, what opens the mail is the key in the keyring together with a file in vault.enc: destroying either
 * is enough. A vault is there when vault.enc has its key material; nothing is left of one when both paths are
 * gone and neither a mount, nor a server, nor the kernel has its key.
 *
 * Called by one thread at a time, the worker's. Order: vault_init; vault_create once in the life of a vault,
 * after its key is in the keyring; vault_adopt or vault_open; vault_close; vault_finish. An erasing caller
 * needs neither an open vault nor the key: vault_destroy_key, vault_end_holders, vault_force_close,
 * vault_remove, in this order and each as often as it likes. A lock is vault_lock alone; vault_open undoes
 * it.
 *
 * After a crash of this process an open vault stays open, and vault_adopt takes it over without pulling it
 * from under anybody. Nothing is kept on disk but the vault itself: everything is found again by looking.
 *
 * Both directories are 0700 and ours alone. Their last component is never followed as a symbolic link. Calls
 * may block up to VAULT_DEADLINE_MS, removal as long as there are files.
 */
#ifndef SATCHEL_VAULT_H
#define SATCHEL_VAULT_H

#include "platform/base/buf.h"
#include "platform/base/file.h"
#include "platform/linux/holders.h"
#include "platform/linux/process.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define VAULT_KEY_SIZE 32 /* random bytes: 256 bits */
#define VAULT_DEADLINE_MS 20000
#define VAULT_PROBE_MS 3000  /* a mounted file system that takes longer to open a directory hangs */
#define VAULT_KILL_MS 2000   /* for killed programs to be gone */
#define VAULT_POLITE_MS 4000 /* for programs that are asked to end, at a lock */
#define VAULT_NOTHING 1      /* there was nothing to do */

struct vault {
    const struct vault_driver *driver;
    char *ciphertext;         /* owned, absolute: .../vault.enc */
    char *mount;              /* owned, absolute: .../vault */
    struct process server;    /* of an open vault whose driver has one; its pidfd is readable when it died.
                                 fscrypt: a child that takes the key from the kernel */
    struct fscrypt_id key_id; /* fscrypt: of the last vault seen, where has_key_id */
    bool has_key_id;
    bool known; /* open, and opened or taken over by this process */
};

/* All functions are required. Arguments have been checked; both parent directories exist. The meaning is that
 * of the functions of the same name below. */
struct vault_driver {
    const char *name; /* as in `satchel status` */
    bool in_place;    /* `mount` itself is what is encrypted, and is removed as such, also while it is open */
    int (*usable)(struct vault *v);
    bool (*traces)(struct vault *v); /* true when any part of a vault of this driver is there */
    bool (*exists)(struct vault *v);
    int (*create)(struct vault *v, const struct buf *key);
    int (*open)(struct vault *v, const struct buf *key);
    int (*adopt)(struct vault *v);
    int (*holders)(struct vault *v, const struct holders_except *except, struct holders *ret);
    int (*end_holders)(struct vault *v, const struct holders_except *except, int64_t polite, int64_t deadline,
                       size_t *ended); /* SIGTERM until `polite` (0: not at all), then SIGKILL */
    int (*close)(struct vault *v);
    int (*force_close)(struct vault *v, const struct holders_except *except, int64_t deadline);
    int (*destroy_key)(struct vault *v);
    int (*is_open)(struct vault *v, dev_t *ret_device);
    int (*count_servers)(struct vault *v, size_t *ret);
};

/* FUSE, on any file system. Needs gocryptfs and fusermount3. */
extern const struct vault_driver vault_gocryptfs;

/* The kernel, at native speed, on file systems with the feature "encrypt". Cannot take from a program that is
 * not ended what it has open: vault_force_close says ERR_TIMEOUT then. */
extern const struct vault_driver vault_fscrypt;

/* The driver for these paths: the one whose vault is there, or what is left of it; else the best that is
 * usable; where none is, one whose vault_usable() says what is missing. */
const struct vault_driver *vault_choose(const char *ciphertext, const char *mount);

/* Takes copies of the paths. ERR_INVALID for paths that are not absolute. */
int vault_init(struct vault *v, const struct vault_driver *driver, const char *ciphertext, const char *mount);

/* Forgets the vault, which stays as it is, open or not. */
void vault_finish(struct vault *v);
#define vault_cleanup vault_finish

/* 0 when the driver can work here, else ERR_WRONG_STATE with a sentence: what is missing and what to do. */
int vault_usable(struct vault *v);

/* True when a vault has been created there and its key material is still there. */
bool vault_exists(struct vault *v);

/* Makes an empty vault for `key` (VAULT_KEY_SIZE bytes, not kept). What a crash in here left is made anew.
 * ERR_WRONG_STATE where there is a vault or anything else already. */
int vault_create(struct vault *v, const struct buf *key);

/*
 * Opens the vault; files can be used when this returns. A vault that is open already is adopted; a mount
 * whose server has died is cleared away first. ERR_AUTH: the key does not open it; ERR_INVALID: its key
 * material is damaged; ERR_NOT_FOUND: there is no vault; ERR_WRONG_STATE: the mount directory is not empty or
 * used otherwise, or the driver is not usable; ERR_TIMEOUT. Nothing is lost on failure.
 */
int vault_open(struct vault *v, const struct buf *key);

/* Takes over a vault that is open. VAULT_NOTHING where it is not, or where it hangs or its server has died.
 */
int vault_adopt(struct vault *v);

/* Who has files in an open vault: empty where it is closed. */
int vault_holders(struct vault *v, const struct holders_except *except, struct holders *ret);

/* Closes the vault. ERR_WRONG_STATE "in use by thunderbird (4711)" when somebody has files in it; it stays
 * open. */
int vault_close(struct vault *v);

/* Overwrites and removes the key material that lies beside the ciphertext; asks nothing that could block.
 * VAULT_NOTHING when there is none. */
int vault_destroy_key(struct vault *v);

/* SIGKILL for who has files in the vault, and their children; adds to *ended. VAULT_NOTHING when nobody had.
 */
int vault_end_holders(struct vault *v, const struct holders_except *except, size_t *ended);

/* Closes the vault whoever uses it: holders and the server that has the key in memory are ended.
 * VAULT_NOTHING when it was closed and no server was left; ERR_TIMEOUT. */
int vault_force_close(struct vault *v, const struct holders_except *except);

/*
 * Takes the mail out of reach and keeps it: programs with files in the vault are asked to end (SIGTERM),
 * those that are still there after VAULT_POLITE_MS get SIGKILL, each with its children; then the vault is
 * closed as by vault_force_close. Key material and ciphertext stay: vault_open with the key from the keyring
 * opens it again. The caller has ended its own mail child before, and opens the vault no more while the
 * device is locked; a program that is started again meanwhile is ended, too.
 *
 * Adds the number of programs that were ended to *ended, also on failure. VAULT_NOTHING when the vault was
 * closed; ERR_TIMEOUT, ERR_SYSTEM: call it again. Blocks up to VAULT_POLITE_MS + VAULT_DEADLINE_MS.
 */
int vault_lock(struct vault *v, const struct holders_except *except, size_t *ended);

/* Removes the ciphertext and the mount directory of a closed vault (of one that is still open, only the one
 * with the mail in it: ERR_WRONG_STATE). Adds to `count`, also on failure. VAULT_NOTHING when there was
 * nothing. */
int vault_remove(struct vault *v, struct file_removed *count);

struct vault_status {
    const char *driver;
    const char *path; /* where the mail is seen; of the vault */
    bool exists, open;
    dev_t device;   /* of what is in an open vault */
    uint64_t files; /* encrypted ones; counting reads every directory */
    uint64_t bytes;
};

/* `count`: fill `files` and `bytes` too. Never blocks on the mounted file system. */
int vault_describe(struct vault *v, bool count, struct vault_status *ret);

/* What an erased vault must not have left: entries of the two paths, mounts (or keys that the kernel has),
 * servers. All 0 when nothing is.
 */
struct vault_left {
    size_t paths, mounts, servers;
};
int vault_look_for_rest(struct vault *v, struct vault_left *ret);

#endif
