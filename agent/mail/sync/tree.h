/*
 * What follows on the server where readers make, rename and remove folders: the directories of the Maildir
 * against what is known. On the engine's thread.
 */
#ifndef SATCHEL_AGENT_MAIL_SYNC_TREE_H
#define SATCHEL_AGENT_MAIL_SYNC_TREE_H

#include "agent/mail/sync/directories.h"
#include "agent/mail/sync/list.h"

/* RENAME and CREATE, after renamed_update(). What cannot be done is said in l->trouble. Negative ends the
 * session. */
int tree_update(struct sync *s, struct folder_list *l, const struct directories *t);

#define TREE_AGAIN 1 /* a name is free now that a directory waits for */

/* DELETE for folders whose directory is gone, when nothing waits to be uploaded: messages may have been moved
 * out of them. Never INBOX or a special-use mailbox, and never one that holds what was not in the copy: those
 * come back. Then RENAME for folders that waited for a name of these. 0, or TREE_AGAIN. */
int tree_delete(struct sync *s, struct folder_list *l);

/* Whether the mailbox has the name that a folder gets on its way to one that is not free yet. */
bool tree_is_aside(const struct sync_folder *f, const char *mailbox);

#endif
