/*
 * Holders: the processes of this user that have a descriptor, a working directory, a root or a mapping on one
 * device, and their end. By device number, not by name, so that a file opened under another path counts;
 * without asking the mounted file system, so that a dead one does not hang the search.
 *
 * A process whose /proc entries the kernel does not let us read (another user's, or one that made itself
 * undumpable) is not seen; unmounting then says "in use". Any thread; nothing is kept between calls.
 */
#ifndef SATCHEL_LINUX_HOLDERS_H
#define SATCHEL_LINUX_HOLDERS_H

#include "platform/linux/process.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct holder {
    struct process_id id;
    pid_t parent;
    char name[32];   /* the kernel's short name */
    const char *how; /* "open file", "working directory", "root directory", "mapped file", "child" */
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

/* True when the text of a /proc/PID/maps (`n` bytes) names `device`. */
bool holders_maps_name(const char *text, size_t n, dev_t device);

/* Everything that holds `device`, in no order. 0 also when there is nothing. */
int holders_find(dev_t device, const struct holders_except *except, struct holders *ret);

/*
 * Ends every holder and, unless we are root, its children and theirs (they may have the mail in memory): by
 * SIGTERM, where `polite` is a time to come (clock_boot_ms()) until which they may end by themselves, and by
 * SIGKILL then. Waits until they are gone and looks again, until nothing is found or `deadline` has passed
 * (ERR_TIMEOUT). As root only what really holds the device is ended: a root shell's children are anything.
 * The children of a process that is left alone are left alone. Adds the number of ended processes to
 * *ret_ended.
 */
int holders_end(dev_t device, const struct holders_except *except, int64_t polite, int64_t deadline,
                size_t *ret_ended);

/* "thunderbird (4711), mutt (4712)": for a sentence. Owned by the caller; NULL without memory. */
char *holders_names(const struct holders *h);

#endif
