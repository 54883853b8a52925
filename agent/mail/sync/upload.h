/*
 * Files of readers on their way to the server: a new message is APPENDed; one of our own files in another
 * folder is MOVEd, where its old place is empty, else COPYed. Each is written down before the command
 * (state_upload) and becomes the copy of the new message after it; in between it is found again on the server
 * by what it holds, so that nothing goes up twice. On the engine's thread.
 */
#ifndef SATCHEL_AGENT_MAIL_SYNC_UPLOAD_H
#define SATCHEL_AGENT_MAIL_SYNC_UPLOAD_H

#include "agent/mail/sync/folder.h"

/* Whether a folder has files that may be tried now. */
bool upload_due(const struct sync_folder *f);

/* Ends what an earlier session left open. Before anything else in a session. */
int upload_recover(struct sync *s);

/* Uploads what waits in a folder, which has been synced before. Refusals are said in f->problem and tried
 * again later. Negative ends the session. */
int upload_run(struct sync *s, struct sync_folder *f);

/* How many files wait. */
int64_t upload_waiting(const struct sync_folder *f);

#endif
