/*
 * The state database (SQLite, inside the vault): which messages of which mailbox are in the Maildir, and what
 * both sides last agreed on. It is the commit point: a message counts as copied when its row is committed,
 * after its file is durable. Every change is durable when state_commit() returns. One thread. A second
 * process cannot open it while it is open here.
 *
 * A database that is damaged is thrown away, with a line in the log, and the copy is made again from the
 * server.
 */
#ifndef SATCHEL_AGENT_MAIL_SYNC_STATE_H
#define SATCHEL_AGENT_MAIL_SYNC_STATE_H

#include "agent/mail/sync/plan.h"

#include <stddef.h>
#include <stdint.h>

struct state;

struct state_folder {
    int64_t id;
    uint32_t uidvalidity; /* 0: never synced */
    uint32_t uidnext;     /* what SELECT said in the last complete pass */
    uint64_t modseq;      /* likewise; 0: the server has none, or the last pass was not complete */
    uint32_t messages;
};

/* Opens or makes the database. ERR_SYSTEM, also when another process has it. */
int state_open(const char *path, struct state **ret);
void state_close(struct state *s);

int state_begin(struct state *s);
int state_commit(struct state *s);
void state_rollback(struct state *s);

/* The row of a mailbox, made when missing. ERR_REFUSED when another mailbox has that directory. */
int state_folder_get(struct state *s, const char *mailbox, const char *directory, struct state_folder *ret);
int state_folder_put(struct state *s, const struct state_folder *folder);

/* Forgets every message and starts under a new UIDVALIDITY (0: unknown). */
int state_folder_reset(struct state *s, int64_t folder, uint32_t uidvalidity);
int state_folder_remove(struct state *s, int64_t folder);

/* Calls `each` for every mailbox known. A non-zero return of it ends the walk and is returned. */
int state_folders(struct state *s,
                  int (*each)(void *ctx, const char *mailbox, const char *directory, int64_t folder),
                  void *ctx);

/* The messages of a folder by UID, owned by the caller. */
int state_messages(struct state *s, int64_t folder, struct plan_base **ret, size_t *ret_n);
int state_message_put(struct state *s, int64_t folder, const struct plan_base *message);
int state_message_remove(struct state *s, int64_t folder, uint32_t uid);

/* How many messages are in the copy. */
int state_count(struct state *s, int64_t *ret);

#endif
