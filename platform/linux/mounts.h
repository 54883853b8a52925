/*
 * Mounts of this process's mount namespace: looking one up, waiting for one to appear or go, unmounting.
 *
 * Everything is answered from /proc/self/mountinfo (proc(5)), never by asking the mounted file system, which
 * may be dead or hang. Any thread; nothing is kept between calls.
 */
#ifndef SATCHEL_LINUX_MOUNTS_H
#define SATCHEL_LINUX_MOUNTS_H

#include "platform/base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct mount {
    dev_t device;     /* st_dev of what lies in it */
    char fstype[64];  /* "fuse.gocryptfs"; cut where longer */
    char source[256]; /* cut where longer */
};

/*
 * Looks in `n` bytes of mountinfo for what is mounted on `point` (an absolute path without symbolic links);
 * the uppermost where mounts are stacked. 1 when nothing is. Lines that are not as proc(5) says are skipped.
 */
int mounts_parse(const char *text, size_t n, const char *point, struct mount *ret);

/* The same for the running system. The directory above `point` is resolved first, `point` itself is not
 * touched. 1 when nothing is mounted there, or there is no such directory; ERR_SYSTEM. */
int mounts_find(const char *point, struct mount *ret);

/*
 * Waits until something is mounted on `point`, or nothing is. `wake`: a descriptor whose readability ends the
 * wait, or -1. 0, 1 when woken with the state not reached, ERR_TIMEOUT after `deadline`.
 */
int mounts_wait(const char *point, bool mounted, int wake, int64_t deadline);

/*
 * Unmounts a FUSE mount with `fusermount3 -u` (`-uz`, out of sight now and gone when unused, where `lazy`),
 * or umount2(2) where that program is missing and we are root. 0 also where nothing is mounted, 1 when it is
 * in use; ERR_TIMEOUT, ERR_WRONG_STATE where fusermount3 is missing, ERR_SYSTEM.
 */
int mounts_unmount(const char *point, bool lazy, int64_t deadline);

#endif
