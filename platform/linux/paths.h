/*
 * Where things are on this device (XDG Base Directory Specification). Filled once at start, read-only
 * afterwards, any thread. Only the state and the runtime directory are made here; the vault makes its own.
 */
#ifndef SATCHEL_LINUX_PATHS_H
#define SATCHEL_LINUX_PATHS_H

#include <limits.h>

struct paths {
    char state[PATH_MAX];      /* $XDG_STATE_HOME/satchel: records, journal, activity; no mail, no secret */
    char data[PATH_MAX];       /* $XDG_DATA_HOME/satchel */
    char ciphertext[PATH_MAX]; /* data/vault.enc */
    char vault[PATH_MAX];      /* data/vault, where the vault is mounted */
    char runtime[PATH_MAX];    /* $XDG_RUNTIME_DIR/satchel, or state/run where there is none */
    char control[PATH_MAX];    /* runtime/control */
};

/* ERR_INVALID for relative or overlong variables, ERR_NOT_FOUND without a home directory. */
int paths_find(struct paths *ret);

/* Makes state and runtime (0700) and opens the state directory. Refuses directories of another user. */
int paths_make(const struct paths *p, int *ret_state_fd);

#endif
