/*
 * Holders: the processes of this user that have a descriptor, a working directory, a root or a mapping in one
 * place, and their end. The place is a device, or on a device that is shared what is encrypted with one key;
 * so a file counts that was opened under another path, was renamed or was deleted since. A mounted file
 * system is not asked, so that a dead one does not hang the search.
 *
 * A process whose /proc entries the kernel does not let us read (another user's, or one that made itself
 * undumpable) is not seen; unmounting then says "in use". Any thread; nothing is kept between calls.
 */
#ifndef SATCHEL_LINUX_HOLDERS_H
#define SATCHEL_LINUX_HOLDERS_H

#include "platform/linux/fscrypt.h"
#include "platform/linux/process.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct holders_where {
    dev_t device;                 /* everything on it, where `key` is NULL */
    const struct fscrypt_id *key; /* only what is encrypted with it: a local file system, which is asked */
    const char *path;             /* with `key`: where it lies, without symbolic links; tells mappings */
    const uint64_t *inodes; /* with `key`, may be NULL: those of the tree, ascending. They tell mappings that
                               another mount namespace names otherwise, and watches (inotify) */
    size_t n_inodes;
};

struct holder {
    struct process_id id;
    pid_t parent;
    char name[32];   /* the kernel's short name */
    const char *how; /* "open file", "working directory", "root directory", "mapped file", "watch", "child" */
};

struct holders {
    struct holder *list; /* owned */
    size_t n;
};

void holders_finish(struct holders *h);
#define holders_cleanup holders_finish

/* Processes that are left alone: this one always, and these. */
struct holders_except {
    const pid_t *pids;
    size_t n;
};

/* True when the text of a /proc/PID/maps (`n` bytes) names something of the place. */
bool holders_maps_name(const char *text, size_t n, const struct holders_where *where);

/* True when the text of the /proc/PID/fdinfo/FD of an inotify descriptor does: only with `inodes`. */
bool holders_watch_names(const char *text, size_t n, const struct holders_where *where);

/* Everything that holds the place, in no order. 0 also when there is nothing. */
int holders_find(const struct holders_where *where, const struct holders_except *except, struct holders *ret);

/*
 * Ends every holder and, unless we are root, its children and theirs (they may have the mail in memory): by
 * SIGTERM, where `polite` is a time to come (clock_boot_ms()) until which they may end by themselves, and by
 * SIGKILL then. Waits until they are gone and looks again, until nothing is found or `deadline` has passed
 * (ERR_TIMEOUT). As root only what really holds the place is ended: a root shell's children are anything.
 * The children of a process that is left alone are left alone. Adds the number of ended processes to
 * *ret_ended.
 */
int holders_end(const struct holders_where *where, const struct holders_except *except, int64_t polite,
                int64_t deadline, size_t *ret_ended);

/* "thunderbird (4711), mutt (4712)": for a sentence. Owned by the caller; NULL without memory. */
char *holders_names(const struct holders *h);

/* ERR_WRONG_STATE: "WHAT is in use by thunderbird (4711)". */
int holders_refuse(const struct holders *h, const char *what);

#endif
