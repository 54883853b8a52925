#include "platform/linux/holders.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define HOLDERS_MAPS_MAX ((size_t)32 << 20)

void holders_finish(struct holders *h) {
    free(h->list);
    *h = (struct holders){0};
}

static void stream_dir_cleanup(DIR **d) {
    if (*d)
        (void)closedir(*d);
}

/* AT_STATX_DONT_SYNC and an empty mask: the kernel answers from what it has and asks no FUSE server. */
static bool is_on_device(int dir, const char *name, dev_t device) {
    struct statx st;
    return statx(dir, name, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, 0, &st) == 0 &&
           makedev(st.stx_dev_major, st.stx_dev_minor) == device;
}

static bool has_open_file(int process, dev_t device) {
    int fd = openat(process, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return false;
    cleanup(stream_dir) DIR *stream = fdopendir(fd);
    if (!stream) {
        (void)close(fd);
        return false;
    }
    struct dirent *entry;
    while ((entry = readdir(stream)))
        if (isdigit((unsigned char)entry->d_name[0]) && is_on_device(fd, entry->d_name, device))
            return true;
    return false;
}

bool holders_maps_name(const char *text, size_t n, dev_t device) {
    /* "start-end perms offset major:minor inode path", the device in hexadecimal */
    char wanted[32];
    int wanted_len = snprintf(wanted, sizeof wanted, "%02x:%02x ", major(device), minor(device));
    const char *p = text, *end = text + n;
    while (p < end) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        stop = stop ? stop : end;
        for (int blanks = 0; p < stop && blanks < 3; p++)
            blanks += *p == ' ';
        if (stop - p >= wanted_len && memcmp(p, wanted, (size_t)wanted_len) == 0)
            return true;
        p = stop + 1;
    }
    return false;
}

static bool has_mapping(int process, dev_t device) {
    cleanup(fd) int fd = openat(process, "maps", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    cleanup(buf) struct buf text = {.max = HOLDERS_MAPS_MAX};
    for (;;) {
        char chunk[16384];
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 || buf_add(&text, chunk, (size_t)n) < 0)
            return text.data && holders_maps_name(text.data, text.len, device);
    }
}

/* How the process holds the device, or NULL. */
static const char *how_held(pid_t pid, dev_t device) {
    char path[32];
    (void)snprintf(path, sizeof path, "/proc/%d", (int)pid);
    cleanup(fd) int process = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (process < 0)
        return NULL;
    if (is_on_device(process, "cwd", device))
        return "working directory";
    if (is_on_device(process, "root", device))
        return "root directory";
    if (has_open_file(process, device))
        return "open file";
    return has_mapping(process, device) ? "mapped file" : NULL;
}

static bool is_left_alone(pid_t pid, const struct holders_except *except) {
    if (pid == getpid() || pid <= 1)
        return true;
    for (size_t i = 0; except && i < except->n; i++)
        if (except->pids[i] == pid)
            return true;
    return false;
}

static int add_holder(struct holders *h, const struct holder *one) {
    struct holder *list = reallocarray(h->list, h->n + 1, sizeof *list);
    if (!list)
        return err_errno("cannot list processes");
    list[h->n++] = *one;
    h->list = list;
    return 0;
}

/* Every process of this user, `how` not yet known. */
struct survey {
    struct holders all;
    const struct holders_except *except;
    int r;
};

static bool survey_one(const struct process_info *info, void *userdata) {
    struct survey *s = userdata;
    struct holder one = {.id = info->id, .parent = info->parent};
    memcpy(one.name, info->name, sizeof one.name);
    if (s->r == 0 && !is_left_alone(info->id.pid, s->except))
        s->r = add_holder(&s->all, &one);
    return false;
}

static int survey(dev_t device, const struct holders_except *except, struct holders *ret) {
    struct survey s = {.except = except};
    cleanup(process_ids) struct process_ids none = {0};
    int r = process_find(survey_one, &s, &none);
    if (r == 0)
        r = s.r;
    for (size_t i = 0; r == 0 && i < s.all.n; i++)
        s.all.list[i].how = how_held(s.all.list[i].id.pid, device);
    if (r == 0)
        *ret = s.all;
    else
        holders_finish(&s.all);
    return r;
}

/* Marks the children of what is held as held too, down to the last. */
static void mark_children(struct holders *all) {
    for (bool changed = true; changed;) {
        changed = false;
        for (size_t i = 0; i < all->n; i++) {
            struct holder *child = &all->list[i];
            for (size_t j = 0; !child->how && j < all->n; j++)
                if (all->list[j].how && all->list[j].id.pid == child->parent) {
                    child->how = "child";
                    changed = true;
                }
        }
    }
}

static void keep_held(struct holders *h) {
    size_t n = 0;
    for (size_t i = 0; i < h->n; i++)
        if (h->list[i].how)
            h->list[n++] = h->list[i];
    h->n = n;
}

int holders_find(dev_t device, const struct holders_except *except, struct holders *ret) {
    struct holders h = {0};
    int r = survey(device, except, &h);
    if (r < 0)
        return r;
    keep_held(&h);
    *ret = h;
    return 0;
}

/* First all signals, then all waits: nobody is left to start another one. The number that has ended is added
 * to *ended; what has not is ERR_TIMEOUT. */
static int signal_all(struct process *open, size_t n, int sig, int64_t deadline, size_t *ended) {
    int first = 0;
    for (size_t i = 0; i < n; i++) {
        int r = process_signal(&open[i], sig);
        first = first < 0 ? first : r;
    }
    for (size_t i = 0; i < n; i++) {
        if (open[i].pid <= 0)
            continue;
        int r = process_wait(&open[i], deadline, NULL);
        *ended += r == 0;
        first = first < 0 ? first : r;
    }
    return first;
}

/* The same processes get both signals: a child that outlives its parent is still one of them. */
static int end_all(const struct holders *h, int64_t polite, int64_t deadline, size_t *ended) {
    struct process *open = calloc(h->n, sizeof *open);
    if (!open)
        return err_errno("cannot end processes");
    int first = 0;
    for (size_t i = 0; i < h->n; i++) {
        open[i] = PROCESS_NONE;
        int r = process_open(h->list[i].id, &open[i]);
        first = first < 0 || r > 0 ? first : r;
    }
    if (clock_left(polite) > 0)
        (void)signal_all(open, h->n, SIGTERM, polite, ended);
    int r = signal_all(open, h->n, SIGKILL, deadline, ended);
    for (size_t i = 0; i < h->n; i++)
        process_finish(&open[i]);
    free(open);
    return first < 0 ? first : r;
}

int holders_end(dev_t device, const struct holders_except *except, int64_t polite, int64_t deadline,
                size_t *ret_ended) {
    for (;;) {
        cleanup(holders) struct holders h = {0};
        int r = survey(device, except, &h);
        if (r < 0)
            return r;
        if (geteuid() != 0)
            mark_children(&h);
        keep_held(&h);
        if (!h.n)
            return 0;
        r = end_all(&h, polite, deadline, ret_ended);
        if (r < 0)
            return r;
        if (clock_boot_ms() >= deadline)
            return err_set(ERR_TIMEOUT, "%zu processes still hold the vault", h.n);
    }
}

char *holders_names(const struct holders *h) {
    struct buf out = {0};
    for (size_t i = 0; i < h->n && i < 8; i++)
        if (buf_printf(&out, "%s%s (%d)", i ? ", " : "", h->list[i].name, (int)h->list[i].id.pid) < 0)
            break;
    if (h->n > 8)
        (void)buf_printf(&out, " and %zu more", h->n - 8);
    char *text = buf_steal(&out);
    return text ? text : strdup("nothing");
}
