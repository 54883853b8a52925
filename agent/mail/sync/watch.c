#include "agent/mail/sync/watch.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define GONE (IN_DELETE | IN_MOVED_FROM | IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED)

int watch_open(struct watch *w) {
    w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    return w->fd < 0 ? err_errno("cannot watch the mail folders") : 0;
}

void watch_close(struct watch *w) {
    fd_cleanup(&w->fd);
    free(w->map);
    *w = (struct watch)WATCH_INIT;
}

static int compare(const void *a, const void *b) {
    const struct watch_entry *x = a, *y = b;
    return x->wd < y->wd ? -1 : x->wd > y->wd;
}

static struct watch_entry *watch_find(const struct watch *w, int wd) {
    struct watch_entry key = {.wd = wd};
    return w->n ? bsearch(&key, w->map, w->n, sizeof key, compare) : NULL;
}

void watch_add(struct watch *w, int fd, enum watch_what what, int64_t folder) {
    char path[40];
    uint32_t mask = IN_MOVE | IN_CREATE | IN_DELETE | IN_ONLYDIR |
                    (what == WATCH_TREE ? IN_MOVE_SELF | IN_DELETE_SELF : IN_CLOSE_WRITE | IN_ATTRIB);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int wd = inotify_add_watch(w->fd, path, mask);
    struct watch_entry *known = wd < 0 ? NULL : watch_find(w, wd);
    if (known) {
        *known = (struct watch_entry){.wd = wd, .what = what, .folder = folder};
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
    size_t at = w->n++;
    for (; at > 0 && w->map[at - 1].wd > wd; at--) /* descriptors mostly rise */
        w->map[at] = w->map[at - 1];
    w->map[at] = (struct watch_entry){.wd = wd, .what = what, .folder = folder};
}

bool watch_take(struct watch *w, struct watch_event *ret) {
    for (;;) {
        if (w->at >= w->end) {
            ssize_t n = w->fd < 0 ? -1 : read(w->fd, w->events, sizeof w->events);
            w->at = 0;
            w->end = n > 0 ? (size_t)n : 0;
            if (w->end == 0)
                return false;
        }
        const struct inotify_event *e = (const void *)(w->events + w->at);
        w->at += sizeof *e + e->len;
        if (e->mask & IN_Q_OVERFLOW) {
            *ret = (struct watch_event){.name = "", .lost = true};
            return true;
        }
        struct watch_entry *entry = watch_find(w, e->wd);
        if (!entry)
            continue;
        *ret = (struct watch_event){.what = entry->what,
                                    .folder = entry->folder,
                                    .name = e->len ? e->name : "",
                                    .there = !(e->mask & GONE),
                                    .written = e->mask & (IN_CLOSE_WRITE | IN_MOVED_TO | IN_ATTRIB)};
        if (e->mask & IN_IGNORED) {
            size_t at = (size_t)(entry - w->map);
            memmove(entry, entry + 1, (w->n - at - 1) * sizeof *entry);
            w->n--;
        }
        return true;
    }
}
