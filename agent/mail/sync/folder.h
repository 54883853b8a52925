/*
 * One mailbox and its folder: the comparison of both sides and what follows from it. Called by the engine, on
 * its thread, with a live session. Every step may be the last before a crash: files first, then the server,
 * then one commit in the state database; whatever is done twice after a crash is harmless.
 */
#ifndef SATCHEL_AGENT_MAIL_SYNC_FOLDER_H
#define SATCHEL_AGENT_MAIL_SYNC_FOLDER_H

#include "agent/mail/imap/session.h"
#include "agent/mail/sync/maildir.h"
#include "agent/mail/sync/report.h"
#include "agent/mail/sync/state.h"
#include "agent/mail/sync/store.h"
#include "agent/mail/sync/watch.h"

/* What one run of the engine works with. */
struct sync {
    struct store store;
    struct state *state;
    struct watch watch;
    struct report *report;              /* borrowed */
    struct imap_session *imap;          /* NULL: not connected */
    const struct sync_folder *selected; /* on the session, NULL: none that is known */
    int cancel;                         /* readable: stop */
    int keep_days;                      /* 0: everything */
    unsigned part;                      /* number of the next file in tmp/ */
    int64_t done, total;                /* messages in the copy, and on the server, over all folders */
    int64_t bytes;                      /* downloaded since the pass began */
};

struct sync_folder {
    char *mailbox;   /* owned: as the server writes it */
    char *quoted;    /* owned: for a command */
    char *directory; /* owned: below the Maildir's root */
    uint32_t hash;
    struct state_folder row;
    struct state_folder status; /* what the last STATUS said (id unused) */
    bool listed;                /* in the last LIST */
    bool dirty;                 /* never synced since the start, or the last pass was not complete */
    bool touched;               /* something happened in the Maildir, perhaps our own doing */
    bool cleaned;               /* tmp/ was cleaned since the engine started */
    int64_t pending;            /* local changes not yet on the server */
    char problem[200];          /* what keeps the folder from being complete, for a person; empty: nothing */
};

void sync_folder_destroy(struct sync_folder *f);

/* Brings both sides together. 0 also where a problem is left (`problem`); negative ends the session. */
int sync_folder_run(struct sync *s, struct sync_folder *f);

/* Counts the local changes without a server, into `pending`. */
int sync_folder_count(struct sync *s, struct sync_folder *f);

/* Waits `ms`. ERR_CANCELED. */
int sync_pause(const struct sync *s, int ms);

/*
 * Downloads `n` messages (UIDs rising), newest first, in batches: write, make durable, commit. `place`: where
 * an unread message goes. Those that the server does not hand out are left for the next pass, which `problem`
 * then says.
 */
int sync_download(struct sync *s, struct sync_folder *f, const struct maildir *m, const uint32_t *uids,
                  size_t n, enum maildir_place place);

#endif
