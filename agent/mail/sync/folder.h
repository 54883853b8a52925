/*
 * One mailbox and its folder: what the engine knows of it, and the pass that brings both sides together.
 * Called on the engine's thread, with a live session. Every step may be the last before a crash: files first,
 * then the server, then one commit in the state database; whatever is done twice after a crash is harmless.
 */
#ifndef SATCHEL_AGENT_MAIL_SYNC_FOLDER_H
#define SATCHEL_AGENT_MAIL_SYNC_FOLDER_H

#include "agent/mail/imap/session.h"
#include "agent/mail/sync/keyword.h"
#include "agent/mail/sync/lookout.h"
#include "agent/mail/sync/maildir.h"
#include "agent/mail/sync/report.h"
#include "agent/mail/sync/state.h"
#include "agent/mail/sync/store.h"
#include "agent/mail/sync/watch.h"

#define FOLDER_BORN_HERE 1  /* as uidnext of a row without UIDVALIDITY: a reader made the folder */
#define FOLDER_MADE_HERE 2  /* likewise: the mailbox was there, and its directory was made for it */
#define FOLDER_SET_MAX 4000 /* bytes of a UID set in one command */

struct folder_list;

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
    bool confirmed;                     /* this pass carries out mass deletions */
    bool rebuilt;                       /* the state was made anew: a folder is matched before it is copied */
    bool reconnect;                     /* the session was ended by us: a new one follows at once */
    bool notify;                        /* the server tells what happens, also elsewhere (NOTIFY) */
    bool started;                       /* a whole pass was made in this session */
    bool ran;                           /* a folder was looked at since the last news began */
    bool tree;                          /* directories came, went or changed their names */
    int64_t age_at, glance_at;          /* clock_boot_ms() of what comes next */
    struct state_counts counts;         /* over all folders */
    struct folder_list *folders;        /* borrowed: all of them */
    struct lookouts lookouts;           /* none where the server tells of all folders, or has no IDLE */
    int64_t bytes;                      /* downloaded since the last time when nothing was left to do */
    int64_t fetched;                    /* messages, likewise */
};

/* What readers did to the files of a folder, since it was last taken. */
struct hints {
    struct plan_local *items; /* owned; the last word for a UID counts */
    size_t n, allocated;
    struct buf gone; /* UIDs (uint32_t) that went; an item that came later takes it back */
    bool scan;       /* not everything is known: read the directories */
};

enum folder_use { FOLDER_USE_NONE, FOLDER_USE_SPECIAL, FOLDER_USE_INBOX };

struct sync_folder {
    char *mailbox;   /* owned: as the server writes it, in modified UTF-7 */
    char *quoted;    /* owned: for a command */
    char *directory; /* owned: below the Maildir's root */
    char delimiter;
    enum folder_use use;
    struct state_folder row;
    struct state_folder status;    /* what the last STATUS said (id unused) */
    bool listed;                   /* in the last LIST */
    bool told;                     /* STATUS came with LIST or by NOTIFY */
    bool dirty;                    /* never synced since the start, or the last pass was not complete */
    bool again;                    /* what was done here left work for the next round */
    bool all;                      /* the next pass compares every message, also where nothing happened */
    bool opened;                   /* since the engine started: tmp/ cleaned, keywords read */
    bool born_here;                /* a reader made it, and its first pass is still to come */
    bool sized;                    /* there are long messages: sizes are asked for */
    struct sync_folder *successor; /* while names are compared: has its mailbox under a new name */
    bool first;                    /* its first copy is not complete */
    bool asks;                     /* waits for a confirmation */
    struct keywords keywords;
    struct hints hints;
    struct buf foreign; /* maildir entries of readers, to be uploaded */
    char refusal[160];  /* what the server said to the last message that it refused */
    struct buf refused; /* those that the server refused, not tried again before */
    int64_t upload_at;  /* clock_boot_ms() */
    unsigned upload_fails;
    uint32_t
        fetch_below; /* where the download of short messages goes on; UINT32_MAX: at the newest; 0: nowhere */
    uint32_t large_below; /* the same of long ones */
    size_t moved_out;     /* messages that were copied elsewhere because a reader moved them: their removal is
                             none */
    int64_t window_at;    /* of removals: clock_boot_ms() of its start, */
    size_t window_base, window_n; /* how many messages there were then, and how many went since */
    int64_t used_at;              /* clock_boot_ms() when a reader last did something here; 0: never */
    int64_t pending;              /* local changes not yet on the server, but for uploads */
    char problem[200]; /* what keeps the folder from being complete, for a person; empty: nothing */
};

void sync_folder_destroy(struct sync_folder *f);

__attribute__((format(printf, 2, 3))) void sync_folder_problem(struct sync_folder *f, const char *fmt, ...);

/* Opens the directories, making what is missing, watches them and reads the keywords. MAILDIR_VANISHED: a
 * folder that was copied is not there any more. */
int sync_folder_open(struct sync *s, struct sync_folder *f, struct maildir *ret);

/* Writes what the letters stand for, where that changed, before any file has them. */
int sync_folder_keywords(struct sync_folder *f, const struct maildir *m);

/* Brings both sides together, but for uploads and downloads, which are left as rows and entries. 0 also where
 * a problem is left (`problem`); negative ends the session. */
int sync_folder_run(struct sync *s, struct sync_folder *f);

/* Looks at the disk alone: counts the local changes into `pending`. */
int sync_folder_look(struct sync *s, struct sync_folder *f);

/* Waits `ms`. ERR_CANCELED. */
int sync_pause(const struct sync *s, int ms);

#endif
