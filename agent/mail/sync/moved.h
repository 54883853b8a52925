/*
 * Moves made by readers. This form of the engine does not carry a reader's new files to the server yet, so a
 * message that was moved or copied to another folder must not be removed from the server only because its
 * file has left. Whether that is so is found by the file's name and, for copies under a new name, by
 * Message-ID.
 */
#ifndef SATCHEL_AGENT_MAIL_SYNC_MOVED_H
#define SATCHEL_AGENT_MAIL_SYNC_MOVED_H

#include "agent/mail/sync/folder.h"

/*
 * Of the `n` removed messages (UIDs rising) of the selected mailbox, sets held[i] for those that still are in
 * the Maildir as a file that is not on the server. Costs nothing while readers have no files of their own.
 * Negative ends the session.
 */
int moved_find(struct sync *s, const struct sync_folder *f, const uint32_t *uids, size_t n, bool *held);

#endif
