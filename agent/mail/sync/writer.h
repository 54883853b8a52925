/*
 * The files of short messages on their way down. Made by threads of its own where there are many, so that
 * the server's next bytes are taken in meanwhile; what waits for it is capped. A file that could not be made
 * is told by the next call. The folder's struct maildir is borrowed. writer_wait() may be called from
 * another thread, one at a time, the others from the one that started it.
 */
#ifndef SATCHEL_AGENT_MAIL_SYNC_WRITER_H
#define SATCHEL_AGENT_MAIL_SYNC_WRITER_H

#include "agent/mail/sync/maildir.h"
#include "agent/mail/sync/state.h"

struct writer;

#define WRITER_THREADS_MAX 3

/* `in_place`: the folder is copied for the first time (maildir_create()). `unread`: where a message without
 * flags goes. `threads`: 0 to WRITER_THREADS_MAX; without one every file is made within
 * writer_put(). */
int writer_start(const struct maildir *m, bool in_place, enum maildir_place unread, unsigned threads,
                 struct writer **ret);

/* Takes the text of a message, of which the row says UID, time and flags. ERR_SYSTEM, also for one before. */
int writer_put(struct writer *w, const struct state_message *row, const char *text, size_t n);

/* Waits until every message that was taken so far has its file. ERR_SYSTEM. */
int writer_wait(struct writer *w);

/* Ends the thread; what still waits is dropped. NULL is allowed. */
void writer_stop(struct writer *w);

#endif
