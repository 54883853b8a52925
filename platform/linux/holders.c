#include "platform/linux/holders.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define HOLDERS_TEXT_MAX ((size_t)32 << 20)

void holders_finish(struct holders *h) {
    free(h->list);
    *h = (struct holders){0};
}

static void stream_dir_cleanup(DIR **d) {
    if (*d)
        (void)closedir(*d);
}

/* Whether an encrypted file is so with our key. It is opened anew for the question, which needs no name. */
static bool has_key(int dir, const char *name, const struct fscrypt_id *key) {
    struct fscrypt_id id;
    cleanup(fd) int fd = openat(dir, name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    return fd >= 0 && fscrypt_look(fd, &id) == 0 && fscrypt_same(&id, key);
}

/* "/v" and "/v/a", also "/v/a (deleted)", but not "/vault". */
static bool is_below(const char *text, size_t n, const char *path) {
    size_t len = path ? strlen(path) : 0;
    return len && n >= len && memcmp(text, path, len) == 0 &&
           (n == len || text[len] == '/' || text[len] == ' ');
}

static bool link_is_below(int dir, const char *name, const char *path) {
    char text[PATH_MAX];
    ssize_t n = readlinkat(dir, name, text, sizeof text);
    return n > 0 && is_below(text, (size_t)n, path);
}

/* What a link of /proc leads to. AT_STATX_DONT_SYNC and an empty mask: the kernel answers from what it has
 * and asks no FUSE server. */
static bool is_there(int dir, const char *name, const struct holders_where *where) {
    struct statx st;
    if (statx(dir, name, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, 0, &st) < 0 ||
        makedev(st.stx_dev_major, st.stx_dev_minor) != where->device)
        return false;
    if (!where->key)
        return true;
    if (!(st.stx_attributes & STATX_ATTR_ENCRYPTED))
        return false;
    bool can_ask = S_ISREG(st.stx_mode) || S_ISDIR(st.stx_mode);
    return (can_ask && has_key(dir, name, where->key)) || link_is_below(dir, name, where->path);
}

static int compare_inodes(const void *a, const void *b) {
    const uint64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static bool is_inode_of(const struct holders_where *where, uint64_t inode) {
    return where->n_inodes &&
           bsearch(&inode, where->inodes, where->n_inodes, sizeof inode, compare_inodes) != NULL;
}

/* "start-end perms offset major:minor inode    path", the device in hexadecimal; from the device on. */
static bool is_mapping_of(const char *p, const char *stop, const struct holders_where *where) {
    char wanted[32];
    int n = snprintf(wanted, sizeof wanted, "%02x:%02x ", major(where->device), minor(where->device));
    if (stop - p < n || memcmp(p, wanted, (size_t)n) != 0)
        return false;
    if (!where->key)
        return true;
    uint64_t inode = 0;
    for (p += n; p < stop && isdigit((unsigned char)*p); p++)
        inode = inode * 10 + (uint64_t)(*p - '0');
    while (p < stop && *p == ' ')
        p++;
    return is_below(p, (size_t)(stop - p), where->path) || is_inode_of(where, inode);
}

bool holders_maps_name(const char *text, size_t n, const struct holders_where *where) {
    const char *p = text, *end = text + n;
    while (p < end) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        stop = stop ? stop : end;
        for (int blanks = 0; p < stop && blanks < 3; p++)
            blanks += *p == ' ';
        if (is_mapping_of(p, stop, where))
            return true;
        p = stop + 1;
    }
    return false;
}

/* "inotify wd:1 ino:9e7e sdev:800013 mask:...": hexadecimal, the device as the kernel numbers it inside. */
bool holders_watch_names(const char *text, size_t n, const struct holders_where *where) {
    const char *p = text, *end = text + n;
    while (p < end) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        stop = stop ? stop : end;
        char line[256];
        unsigned long long inode;
        unsigned device;
        (void)snprintf(line, sizeof line, "%.*s", (int)(stop - p), p);
        if (sscanf(line, "inotify wd:%*x ino:%llx sdev:%x", &inode, &device) == 2 &&
            makedev(device >> 20, device & 0xfffff) == where->device && is_inode_of(where, inode))
            return true;
        p = stop + 1;
    }
    return false;
}

/* Reads a file of /proc whole, and asks about it. */
static bool text_names(int dir, const char *name, const struct holders_where *where,
                       bool (*names)(const char *, size_t, const struct holders_where *)) {
    cleanup(fd) int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    cleanup(buf) struct buf text = {.max = HOLDERS_TEXT_MAX};
    for (;;) {
        char chunk[16384];
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 || buf_add(&text, chunk, (size_t)n) < 0)
            return text.data && names(text.data, text.len, where);
    }
}

static bool is_watch(int process, int fds, const char *name, const struct holders_where *where) {
    static const char wanted[] = "anon_inode:inotify";
    char text[sizeof wanted], path[64];
    ssize_t n = where->n_inodes ? readlinkat(fds, name, text, sizeof text) : -1;
    if (n != sizeof wanted - 1 || memcmp(text, wanted, sizeof wanted - 1) != 0)
        return false;
    (void)snprintf(path, sizeof path, "fdinfo/%.20s", name);
    return text_names(process, path, where, holders_watch_names);
}

/* How a descriptor of the process does, or NULL. */
static const char *how_open(int process, const struct holders_where *where) {
    int fd = openat(process, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    cleanup(stream_dir) DIR *stream = fdopendir(fd);
    if (!stream) {
        (void)close(fd);
        return NULL;
    }
    struct dirent *entry;
    while ((entry = readdir(stream))) {
        if (!isdigit((unsigned char)entry->d_name[0]))
            continue;
        if (is_there(fd, entry->d_name, where))
            return "open file";
        if (is_watch(process, fd, entry->d_name, where))
            return "watch";
    }
    return NULL;
}

/* How the process holds the place, or NULL. */
static const char *how_held(pid_t pid, const struct holders_where *where) {
    char path[32];
    (void)snprintf(path, sizeof path, "/proc/%d", (int)pid);
    cleanup(fd) int process = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (process < 0)
        return NULL;
    if (is_there(process, "cwd", where))
        return "working directory";
    if (is_there(process, "root", where))
        return "root directory";
    const char *how = how_open(process, where);
    return how ? how : text_names(process, "maps", where, holders_maps_name) ? "mapped file" : NULL;
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

static int survey(const struct holders_where *where, const struct holders_except *except,
                  struct holders *ret) {
    struct survey s = {.except = except};
    cleanup(process_ids) struct process_ids none = {0};
    int r = process_find(survey_one, &s, &none);
    if (r == 0)
        r = s.r;
    for (size_t i = 0; r == 0 && i < s.all.n; i++)
        s.all.list[i].how = how_held(s.all.list[i].id.pid, where);
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

int holders_find(const struct holders_where *where, const struct holders_except *except,
                 struct holders *ret) {
    struct holders h = {0};
    int r = survey(where, except, &h);
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

int holders_end(const struct holders_where *where, const struct holders_except *except, int64_t polite,
                int64_t deadline, size_t *ret_ended) {
    for (;;) {
        cleanup(holders) struct holders h = {0};
        int r = survey(where, except, &h);
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

int holders_refuse(const struct holders *h, const char *what) {
    cleanup(free) char *names = h->n ? holders_names(h) : NULL;
    return err_set(ERR_WRONG_STATE, "%s is in use by %s", what,
                   names ? names : "a program that cannot be seen");
}
