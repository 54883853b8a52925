/*
 * Lookouts: further connections to the server, each in IDLE on one folder, for servers that do not tell of
 * several folders on one connection (NOTIFY). A lookout only says that something happened; what, the engine
 * asks for.
 *
 * Called by the engine's thread; each lookout is a thread of its own. Where the server does not take so many
 * connections, the folder is asked for from time to time as before.
 */
#ifndef SATCHEL_AGENT_MAIL_SYNC_LOOKOUT_H
#define SATCHEL_AGENT_MAIL_SYNC_LOOKOUT_H

#include "agent/mail/imap/session.h"

#define LOOKOUTS_MAX 3 /* many servers take ten or fifteen connections of a user, for all devices */

struct lookout;

struct lookouts {
    struct lookout *items[LOOKOUTS_MAX]; /* owned, NULL: none */
    int called;                          /* eventfd: readable when one of them has news; owned */
};

/* The descriptor alone. */
int lookouts_open(struct lookouts *l);

/* Ends all and waits for their threads, which takes no network. They come back with lookouts_keep(). */
void lookouts_end(struct lookouts *l);

void lookouts_close(struct lookouts *l);

/* Watches these mailboxes (modified UTF-7), and no others. `endpoint` stays until lookouts_end(). One that
 * failed is tried again after minutes. */
void lookouts_keep(struct lookouts *l, const struct imap_endpoint *endpoint, const char *const *mailboxes,
                   size_t n);

/* Forgets that `called` was raised; before lookouts_take(). */
void lookouts_clear(struct lookouts *l);

/* Whether a lookout is in IDLE on the mailbox; *ret_news: something happened since the last call. */
bool lookouts_take(struct lookouts *l, const char *mailbox, bool *ret_news);

#endif
