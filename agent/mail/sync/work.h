/*
 * What is to be done with a session: whole passes, what the server or a reader did since, and downloads in
 * steps. The order within a round: messages that readers moved or made go up first, then each folder is
 * compared, so that a removal is never carried out before the new place of a message is known. On the
 * engine's thread.
 */
#ifndef SATCHEL_AGENT_MAIL_SYNC_WORK_H
#define SATCHEL_AGENT_MAIL_SYNC_WORK_H

#include "agent/mail/sync/list.h"

/* The start of a session: what the last one left open. */
int work_begin(struct sync *s);

/* Everything, both ways, but for downloads. */
int work_full(struct sync *s);

/* What happened since: hints of readers, what the selected mailbox and NOTIFY told. */
int work_news(struct sync *s);

/* Whether NOTIFY, or a look in between, told of something. */
bool work_is_told(const struct sync *s);

/* Whether what was done, or what readers did meanwhile, left something that can be done at once. */
bool work_is_due(struct sync *s);

/* Turns the watch's events into hints. false: nothing happened. */
bool work_hints(struct sync *s);

/* Without a server: counts what readers did. */
int work_offline(struct sync *s);

/* Further connections for the folders that readers use, where one connection does not tell of all. */
void work_watch(struct sync *s, const struct imap_endpoint *endpoint);

/* Where the server does not tell of all folders: asks for those that readers used lately. *ret_next: when to
 * ask again (clock_boot_ms()), INT64_MAX: not. */
int work_glance(struct sync *s, int64_t *ret_next);

/* Whether messages are still to be downloaded, and the next step of it. */
bool work_is_left(const struct sync *s);
int work_download(struct sync *s);

/* Nothing is left to be done for now. */
void work_done(struct sync *s);

/* Gathers what the status says. Returns what keeps the copy from being complete, NULL: nothing. */
const char *work_summary(struct sync *s);

#endif
