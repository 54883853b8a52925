/*
 * The state database (SQLite, inside the vault): what each mailbox holds and which messages of it are in the
 * Maildir, what both sides last agreed on, and what is on its way up. It is the commit point: a message
 * counts as copied when its row is committed, after its file is durable. Every change is durable when
 * state_commit() returns. One thread. A second process cannot open it while it is open here.
 *
 * A database that is damaged is thrown away, with a line in the log; the copy is then matched with the server
 * message by message (match.h).
 */
#ifndef SATCHEL_AGENT_MAIL_SYNC_STATE_H
#define SATCHEL_AGENT_MAIL_SYNC_STATE_H

#include "agent/mail/imap/uidset.h"
#include "agent/mail/sync/keyword.h"
#include "agent/mail/sync/plan.h"
#include "platform/base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct state;

struct state_folder {
    int64_t id;
    uint32_t hash;        /* what the names of its files have (name.h); stays when the mailbox is renamed */
    uint32_t uidvalidity; /* 0: never synced */
    uint32_t uidnext;     /* what SELECT said in the last complete pass */
    uint64_t modseq;      /* HIGHESTMODSEQ of it: everything up to here is in the rows; 0: none */
    uint32_t messages;    /* EXISTS of it */
    uint64_t inode; /* of its directory cur when it was last opened, by which it is known again; 0: unknown */
    uint64_t object; /* of MAILBOXID (RFC 8474), 0: unknown */
    bool renamed;    /* a reader renamed its directory, and the server is still to follow */
};

struct state_message {
    uint32_t uid;
    enum plan_message kind;
    uint32_t flags, local;
    uint32_t seconds;
    uint64_t size; /* of the file as we wrote it */
    uint32_t crc;
    int64_t part; /* PLAN_WANTED: durable bytes of a long message in tmp/; -1: none */
};

/* A file that is on its way to the server. Kept from before the command until its row is written. */
struct state_upload {
    int64_t id;
    int64_t folder;
    char name[256];   /* "c" or "n" for cur or new, and the file's name */
    uint32_t uidnext; /* a new message has at least this UID */
    uint64_t wire_size;
    uint32_t wire_crc;
    uint64_t message_id; /* content_id() */
    uint32_t flags; /* what both sides agree on when it arrives: those sent, or those known of its source */
};

struct state_counts {
    int64_t have, wanted, all;
};

/* Opens or makes the database; *ret_new tells of the latter, and of one that was thrown away. ERR_SYSTEM,
 * also when another process has it. */
int state_open(const char *path, bool *ret_new, struct state **ret);
void state_close(struct state *s);

int state_begin(struct state *s);
int state_commit(struct state *s);
void state_rollback(struct state *s);

/* The row of a mailbox, made with `hash` and `directory` when missing; with a place aside (name_away()) where
 * another one has that directory. `ret_directory` starts empty. ERR_REFUSED when the mailbox is kept under
 * another one, though no reader wanted that. */
int state_folder_get(struct state *s, const char *mailbox, const char *directory, uint32_t hash,
                     struct buf *ret_directory, struct state_folder *ret);

/* All but names and `renamed`. */
int state_folder_put(struct state *s, const struct state_folder *folder);

/* Gives the row another mailbox and directory, which no other row may have. */
int state_folder_rename(struct state *s, int64_t folder, const char *mailbox, const char *directory,
                        bool renamed);

/* Forgets every message and starts under a new UIDVALIDITY (0: unknown). */
int state_folder_reset(struct state *s, int64_t folder, uint32_t uidvalidity);
int state_folder_remove(struct state *s, int64_t folder);

/* Calls `each` for every mailbox known. A non-zero return of it ends the walk and is returned. */
int state_folders(struct state *s,
                  int (*each)(void *ctx, const char *mailbox, const char *directory,
                              const struct state_folder *row),
                  void *ctx);

/* The messages of a folder by UID, owned by the caller. */
int state_messages(struct state *s, int64_t folder, struct plan_base **ret, size_t *ret_n);

/* Calls `each` for every message by UID; a negative return of it ends the walk and is returned. It must not
 * write. */
int state_each(struct state *s, int64_t folder, int (*each)(void *ctx, const struct plan_base *row),
               void *ctx);

/* 1: there is no such row. */
int state_message_get(struct state *s, int64_t folder, uint32_t uid, struct state_message *ret);
int state_message_put(struct state *s, int64_t folder, const struct state_message *message);
int state_message_remove(struct state *s, int64_t folder, uint32_t uid);

/* New agreement about flags; the file's flags are `local`. */
int state_message_flags(struct state *s, int64_t folder, uint32_t uid, uint32_t flags, uint32_t local);

/* Another kind of a row. */
int state_message_kind(struct state *s, int64_t folder, uint32_t uid, enum plan_message kind);

/* Durable bytes of a long message that is coming down. */
int state_message_part(struct state *s, int64_t folder, uint32_t uid, int64_t part);

/* The UIDs of rows in a range, appended to `*ret` (owned, grown as needed). */
int state_range(struct state *s, int64_t folder, struct uidset_range range, uint32_t **ret, size_t *ret_n);

/* Up to `max` UIDs to be downloaded below `below`, newest first: short ones, or those that are known to be
 * long.
 */
int state_wanted(struct state *s, int64_t folder, bool large, uint32_t below, uint32_t *ret, size_t max,
                 size_t *ret_n);

/* The highest UID in the copy below `below`, 0: none. */
int state_newest(struct state *s, int64_t folder, uint32_t below, uint32_t *ret);

/* Up to `max` messages in the copy from before `seconds`. */
int state_aged(struct state *s, int64_t folder, uint32_t seconds, struct plan_base *ret, size_t max,
               size_t *ret_n);

/* Wants again: messages left out that are from `seconds` on (0: all of them), or, `lost`, everything that was
 * in the copy. */
int state_want(struct state *s, int64_t folder, uint32_t seconds, bool lost);

int state_counts_of(struct state *s, int64_t folder, struct state_counts *ret);
int state_counts_all(struct state *s, struct state_counts *ret);

int state_keywords_get(struct state *s, int64_t folder, struct keywords *ret);
int state_keywords_put(struct state *s, int64_t folder, const struct keywords *keywords);

/* Uploads: added before the command (*ret_id), removed after the end; listed by age. */
int state_upload_add(struct state *s, const struct state_upload *upload, int64_t *ret_id);
int state_upload_remove(struct state *s, int64_t id);
int state_uploads(struct state *s, struct state_upload **ret, size_t *ret_n);

#endif
