#include "agent/mail/sync/watch.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

int watch_open(struct watch *w) {
    w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    return w->fd < 0 ? err_errno("cannot watch the mail folders") : 0;
}

void watch_close(struct watch *w) {
    fd_cleanup(&w->fd);
    free(w->map);
    *w = (struct watch)WATCH_INIT;
}

void watch_add(struct watch *w, int fd, int64_t folder) {
    char path[40];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int wd = inotify_add_watch(w->fd, path, IN_MOVE | IN_CREATE | IN_DELETE | IN_ONLYDIR);
    for (size_t i = 0; i < w->n; i++)
        if (w->map[i].wd == wd) {
            w->map[i].folder = folder;
            return;
        }
    if (wd >= 0 && w->n == w->allocated) {
        size_t more = w->allocated ? w->allocated * 2 : 32;
        void *grown = reallocarray(w->map, more, sizeof *w->map);
        if (grown) {
            w->map = grown;
            w->allocated = more;
        }
    }
    if (wd < 0 || w->n == w->allocated) {
        w->blind = true;
        return;
    }
    w->map[w->n].wd = wd;
    w->map[w->n++].folder = folder;
}

static int64_t *watch_find(struct watch *w, int wd) {
    for (size_t i = 0; i < w->n; i++)
        if (w->map[i].wd == wd)
            return &w->map[i].folder;
    return NULL;
}

static void watch_forget(struct watch *w, int wd) {
    for (size_t i = 0; i < w->n; i++)
        if (w->map[i].wd == wd)
            w->map[i] = w->map[--w->n];
}

enum watch_result watch_take(struct watch *w, int64_t *ret_folder) {
    for (;;) {
        if (w->at >= w->end) {
            ssize_t n = w->fd < 0 ? -1 : read(w->fd, w->events, sizeof w->events);
            w->at = 0;
            w->end = n > 0 ? (size_t)n : 0;
            if (w->end == 0)
                return WATCH_NONE;
        }
        const struct inotify_event *e = (const void *)(w->events + w->at);
        w->at += sizeof *e + e->len;
        if (e->mask & IN_Q_OVERFLOW)
            return WATCH_ALL;
        const int64_t *folder = watch_find(w, e->wd);
        if (!folder)
            continue;
        *ret_folder = *folder;
        if (e->mask & IN_IGNORED)
            watch_forget(w, e->wd);
        return WATCH_FOLDER;
    }
}
