/*
 * Mailboxes that the server renamed or deleted since the last pass: which row belongs to which mailbox is
 * settled for all of them before anything is carried out, so that names may have changed in chains and
 * circles. A mailbox is known again by its MAILBOXID (RFC 8474), else by its UIDVALIDITY and a look at its
 * newest messages. On the engine's thread.
 *
 * The directories are renamed first, the rows are written all at once afterwards; a crash in between is found
 * by place.h, and is finished by doing the same again. Where a reader has renamed the directory of the same
 * folder too, the server's name wins.
 */
#ifndef SATCHEL_AGENT_MAIL_SYNC_RENAMED_H
#define SATCHEL_AGENT_MAIL_SYNC_RENAMED_H

#include "agent/mail/sync/list.h"

#define RENAMED_SOME 1 /* names have changed: begin again with folder_list_update() */

/* After folder_list_update() and place_update(). Copies of mailboxes that have left the server are removed,
 * or wait for a confirmation. 0, or RENAMED_SOME. */
int renamed_update(struct sync *s, struct folder_list *l);

#endif
