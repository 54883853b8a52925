/*
 * Messages on their way down: the rows that are wanted become files. Newest first, in batches: files, then
 * durable, then one commit. Short messages come in one FETCH for many; one of more than DOWNLOAD_SHORT bytes
 * comes later in pieces, so that it holds up no other, and where it was is written down. Sizes are asked for
 * where long messages are to be expected. On the engine's thread.
 */
#ifndef SATCHEL_AGENT_MAIL_SYNC_DOWNLOAD_H
#define SATCHEL_AGENT_MAIL_SYNC_DOWNLOAD_H

#include "agent/mail/sync/folder.h"

#define DOWNLOAD_SHORT 524288 /* bytes */

enum download_what { DOWNLOAD_FEW, DOWNLOAD_MANY, DOWNLOAD_LONG };

/*
 * The next step in a folder, which takes about a second at most on a fast line: some of its short messages
 * (few: so that they are there soon), or a piece of a long one. f->fetch_below and f->large_below become 0
 * when there is no more of the kind. What the server does not hand out is left for later, which f->problem
 * then says. Negative ends the session.
 */
int download_step(struct sync *s, struct sync_folder *f, enum download_what what);

#endif
