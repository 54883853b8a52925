/*
 * The directories of the Maildir that are folders: those that hold cur and new. On the engine's thread.
 */
#ifndef SATCHEL_AGENT_MAIL_SYNC_DIRECTORIES_H
#define SATCHEL_AGENT_MAIL_SYNC_DIRECTORIES_H

#include "agent/mail/sync/folder.h"

#define DIRECTORIES_MAX 20000 /* that are looked at */

struct directories {
    struct directory {
        char *path;     /* owned: below the Maildir's root */
        uint64_t inode; /* of cur */
    } * items;          /* owned, by path: what holds others comes before them */
    size_t n, allocated;
};

/* Reads and watches all of them. ERR_TOO_LARGE, ERR_WRONG_STATE where the vault is not there. */
int directories_read(struct sync *s, struct directories *ret);
void directories_finish(struct directories *d);
#define directories_cleanup directories_finish

/* NULL: there is none. */
const struct directory *directories_find(const struct directories *d, const char *path);
const struct directory *directories_find_inode(const struct directories *d, uint64_t inode);

#endif
