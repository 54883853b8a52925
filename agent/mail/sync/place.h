/*
 * Where the directories of known folders are by now: readers rename them, in circles too. All are found
 * before anything is carried out; what is known of a folder then follows its directory, and the server is
 * told later (state_folder.renamed; tree.h). On the engine's thread.
 *
 * A directory is known again by the inode of its cur, and where that says nothing (it was copied) by the
 * files in it. INBOX and special-use mailboxes keep their places: what is renamed there are messages that
 * were moved.
 */
#ifndef SATCHEL_AGENT_MAIL_SYNC_PLACE_H
#define SATCHEL_AGENT_MAIL_SYNC_PLACE_H

#include "agent/mail/sync/directories.h"
#include "agent/mail/sync/list.h"

/* After folder_list_update(). A folder whose directory is gone stays as it is, or goes aside (name_away())
 * where another one has taken its place. */
int place_update(struct sync *s, struct folder_list *l, const struct directories *t);

#endif
