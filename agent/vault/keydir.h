/*
 * The directory vault.enc as every driver uses it: what lies there of the key is made, found and destroyed
 * the same way. Never through a symbolic link. Used by the drivers alone.
 */
#ifndef SATCHEL_VAULT_KEYDIR_H
#define SATCHEL_VAULT_KEYDIR_H

#include "agent/vault/vault.h"

#include <dirent.h>

/* VAULT_NOTHING where there is no such directory, or something else in its place. ERR_SYSTEM. */
int keydir_open(const struct vault *v, int *ret_fd);

/* True for a regular file. */
bool keydir_has(int dir, const char *name);

/*
 * Makes the directory, 0700, without any of the files `names` (NULL-terminated) and without what writing them
 * left half done. ERR_WRONG_STATE where anything else is in it: that is not for us to remove.
 */
int keydir_make(const struct vault *v, const char *const *names, int *ret_fd);

/* Overwrites and removes every file whose name begins with `prefix`, all copies of it. One that has a second
 * name may be somebody else's and is only unlinked. VAULT_NOTHING when there is none. */
int keydir_destroy(const struct vault *v, const char *prefix);

/* Lists a directory by its descriptor, which stays the caller's. ERR_SYSTEM. */
int keydir_list(int dir, DIR **ret);

bool keydir_is_dot(const char *name);

static inline void stream_dir_cleanup(DIR **d) {
    if (*d)
        (void)closedir(*d);
}

#endif
