/*
 * Messages that readers moved or edited, and whose new form is not on the server yet: the old one must not be
 * removed there only because its file has left. Found by the file's name and by Message-ID.
 */
#ifndef SATCHEL_AGENT_MAIL_SYNC_MOVED_H
#define SATCHEL_AGENT_MAIL_SYNC_MOVED_H

#include "agent/mail/sync/folder.h"

/*
 * Of the `n` removed messages (UIDs rising) of the selected mailbox, sets held[i] for those that still are in
 * the Maildir as a file that waits to be uploaded. Costs nothing while none waits. Negative ends the session.
 */
int moved_find(struct sync *s, const struct sync_folder *f, const uint32_t *uids, size_t n, bool *held);

#endif
