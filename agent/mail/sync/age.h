/*
 * keep_days: messages that are too old leave the copy, never the server. On the engine's thread.
 */
#ifndef SATCHEL_AGENT_MAIL_SYNC_AGE_H
#define SATCHEL_AGENT_MAIL_SYNC_AGE_H

#include "agent/mail/sync/folder.h"

/* The seconds from which on messages are kept, 0: all. */
uint32_t age_since(const struct sync *s);

/* Lets messages of a folder go that are older, but for those that a reader edited until the edit is up; and
 * wants those again that are not older any more. */
int age_folder(struct sync *s, struct sync_folder *f);

#endif
