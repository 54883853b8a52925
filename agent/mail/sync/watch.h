/*
 * Watches the Maildir for what readers do (inotify). Events say where to look; what counts is always found by
 * comparing with the state database. Where the system has no watches left (`blind`), the caller looks at
 * every pass. One thread.
 */
#ifndef SATCHEL_AGENT_MAIL_SYNC_WATCH_H
#define SATCHEL_AGENT_MAIL_SYNC_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum watch_what { WATCH_CUR, WATCH_NEW, WATCH_TREE };

struct watch {
    int fd; /* readable when something happened */
    struct watch_entry {
        int wd;
        enum watch_what what;
        int64_t folder; /* of WATCH_CUR and WATCH_NEW */
    } * map;            /* owned, by wd */
    size_t n, allocated;
    bool blind; /* some folder could not be watched */
    size_t at, end;
    char events[16384] __attribute__((aligned(8)));
};

#define WATCH_INIT                                                                                           \
    { .fd = -1 }

struct watch_event {
    enum watch_what what;
    int64_t folder;
    const char *name; /* "" for the directory itself; valid until the next call */
    bool there;       /* made, moved in or written; else removed or moved away */
    bool written;     /* its text may have changed */
    bool lost;        /* events were lost: look at everything */
};

int watch_open(struct watch *w);
void watch_close(struct watch *w);

/* Watches the directory `fd`. Again for the same directory is harmless, and says what it is from now on. */
void watch_add(struct watch *w, int fd, enum watch_what what, int64_t folder);

/* The next event, without waiting. false: none. */
bool watch_take(struct watch *w, struct watch_event *ret);

#endif
