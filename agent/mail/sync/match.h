/*
 * Files and messages matched by what they are, where UIDs say nothing: the server gave the mailbox another
 * UIDVALIDITY, or the state database was lost. By Message-ID and size, or by size and date where there is no
 * Message-ID. Nothing is uploaded or removed before. On the engine's thread.
 */
#ifndef SATCHEL_AGENT_MAIL_SYNC_MATCH_H
#define SATCHEL_AGENT_MAIL_SYNC_MATCH_H

#include "agent/mail/sync/folder.h"

/* A message of the server, as far as it is needed to tell it from others. */
struct match_message {
    uint32_t uid, seconds;
    uint64_t size, id;
    uint32_t flags;
    bool taken;
};

/* The messages of the selected mailbox from `first` on, owned by the caller, by Message-ID and size. */
int match_list(struct sync *s, struct sync_folder *f, uint32_t first, struct match_message **ret,
               size_t *ret_n);

/* Reads a message of the selected mailbox and compares the checksum of its first `n` bytes (UINT64_MAX: of
 * all of it). *ret false also when it is not there, or shorter. */
int match_verify(struct sync *s, uint32_t uid, uint64_t n, uint32_t crc, bool *ret);

/*
 * Starts the folder anew under `uidvalidity`, which the session has just selected: files of the mailbox under
 * any UIDVALIDITY (and, where the state was lost, those of readers) that are on the server get their new
 * names and rows. The others stay as they are: the next pass finds them as stale. 0 or negative.
 */
int match_folder(struct sync *s, struct sync_folder *f, struct maildir *m, uint32_t uidvalidity);

/* Ends a file that is left: removed, or, where it was edited, made a reader's own. */
int match_drop(const struct maildir *m, const char *entry, struct buf *foreign);

#endif
