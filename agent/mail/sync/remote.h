/*
 * The server's side of a pass: SELECT, and what changed in the mailbox since the row was written. QRESYNC
 * where the server enabled it and its answer adds up, else CONDSTORE and a search for what is missing, else
 * every UID with its flags. On the engine's thread.
 */
#ifndef SATCHEL_AGENT_MAIL_SYNC_REMOTE_H
#define SATCHEL_AGENT_MAIL_SYNC_REMOTE_H

#include "agent/mail/sync/folder.h"

#define REMOTE_MAX 8000000 /* messages of one mailbox */

struct remote {
    struct plan_remote
        *items; /* owned, by UID; everything, when `whole`; else what is new or has other flags */
    size_t n, allocated;
    uint32_t *gone; /* owned: UIDs of rows that went; only when not `whole` */
    size_t n_gone;
    bool whole;
    bool complete;           /* of a whole list: nothing is missing */
    struct state_folder row; /* what SELECT said, for when everything here is written down */
};

enum remote_result {
    REMOTE_OK = 0,
    REMOTE_REFUSED = 1, /* the mailbox cannot be synced now: f->problem */
    REMOTE_NEW = 2,     /* another UIDVALIDITY (row.uidvalidity): nothing was read */
};

void remote_finish(struct remote *r);
#define remote_cleanup remote_finish

/* A remote_result, or negative. The session's mailbox is then f's, but for REMOTE_REFUSED. */
int remote_read(struct sync *s, struct sync_folder *f, struct remote *ret);

/* UID, flags and date of every message, into `r`, which is then whole. */
int remote_read_all(struct sync *s, struct sync_folder *f, struct remote *r);

#endif
