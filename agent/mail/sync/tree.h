/*
 * Folders that readers make, rename and remove: the directories of the Maildir against what is known, and
 * what follows on the server. On the engine's thread.
 */
#ifndef SATCHEL_AGENT_MAIL_SYNC_TREE_H
#define SATCHEL_AGENT_MAIL_SYNC_TREE_H

#include "agent/mail/sync/list.h"

#define TREE_MAX 20000 /* directories that are looked at */

/* RENAME and CREATE, after LIST. What cannot be done is said in l->trouble. Negative ends the session. */
int tree_update(struct sync *s, struct folder_list *l);

/* DELETE for folders whose directory is gone, when nothing waits to be uploaded: messages may have been moved
 * out of them. Never INBOX or a special-use mailbox, and never one that holds what was not in the copy: those
 * come back. */
int tree_delete(struct sync *s, struct folder_list *l);

#endif
