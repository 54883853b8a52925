/*
 * The account's folders: LIST and STATUS of the server against what the state database knows. On the engine's
 * thread.
 */
#ifndef SATCHEL_AGENT_MAIL_SYNC_LIST_H
#define SATCHEL_AGENT_MAIL_SYNC_LIST_H

#include "agent/mail/sync/folder.h"

#define LIST_FOLDERS_MAX 10000

struct folder_list {
    struct sync_folder **items; /* owned; INBOX first, then by name */
    size_t n, allocated;
    char problem[200]; /* mailboxes that were passed over, for a person; empty: none */
};

void folder_list_finish(struct folder_list *l);

/* Takes in what LIST says: new folders, and those that have left the server, whose copies are removed. */
int folder_list_update(struct sync *s, struct folder_list *l);

/* What the server says about one folder now, into `status`. IMAP_OK, IMAP_NO or IMAP_BAD (then `problem` is
 * set), or negative. */
int folder_list_status(struct sync *s, struct sync_folder *f);

/* Whether a pass is needed: something happened here, or the server's numbers differ, or it has no
 * HIGHESTMODSEQ. */
bool folder_list_needs_pass(const struct sync_folder *f);

struct sync_folder *folder_list_find(const struct folder_list *l, int64_t id);

#endif
