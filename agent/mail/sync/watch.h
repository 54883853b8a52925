/*
 * Watches the Maildir for what readers do (inotify). The watch is only a hint of when to look: what happened
 * is always found by comparing with the state database. Where the system has no watches left, the caller
 * looks at every pass. One thread.
 */
#ifndef SATCHEL_AGENT_MAIL_SYNC_WATCH_H
#define SATCHEL_AGENT_MAIL_SYNC_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct watch {
    int fd; /* readable when something happened */
    struct {
        int wd;
        int64_t folder;
    } * map; /* owned */
    size_t n, allocated;
    bool blind; /* some folder could not be watched */
    size_t at, end;
    char events[8192] __attribute__((aligned(8)));
};

#define WATCH_INIT                                                                                           \
    { .fd = -1 }

enum watch_result { WATCH_NONE = 0, WATCH_FOLDER = 1, WATCH_ALL = 2 };

int watch_open(struct watch *w);
void watch_close(struct watch *w);

/* Watches the directory `fd` for the folder. Again for the same directory is harmless. */
void watch_add(struct watch *w, int fd, int64_t folder);

/* The next folder with events, without waiting. WATCH_ALL: events were lost. */
enum watch_result watch_take(struct watch *w, int64_t *ret_folder);

#endif
