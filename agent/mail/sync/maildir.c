#include "agent/mail/sync/maildir.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PART "satchel.part."
#define QUIET_NS                                                                                             \
    20000000LL /* a directory's time has the kernel tick's resolution; what is younger may change unseen */

static void dir_cleanup(DIR **d) {
    if (*d)
        (void)closedir(*d);
}

static int open_beneath(int root, const char *path) {
    struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV};
    return (int)syscall(SYS_openat2, root, path, &how, sizeof how);
}

static int open_error(void) {
    if (errno == ENOTDIR || errno == ELOOP || errno == EXDEV)
        return err_set(ERR_INVALID, "something that is no mail folder is in its place");
    return err_errno("cannot open a mail folder");
}

/* Makes the directories of `path` one by one and opens the last. */
static int make_beneath(int root, const char *path, int *ret) {
    char part[NAME_PATH_MAX + 1];
    cleanup(fd) int parent = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0)
        return open_error();
    for (const char *at = path, *end = path; *end; at = end + 1) {
        end = strchrnul(at, '/');
        size_t n = (size_t)(end - at);
        if (n >= sizeof part)
            return err_set(ERR_TOO_LARGE, "a folder's name is too long");
        memcpy(part, at, n);
        part[n] = '\0';
        if (mkdirat(parent, part, 0700) != 0 && errno != EEXIST)
            return err_errno("cannot make a mail folder");
        int child = open_beneath(parent, part);
        if (child < 0)
            return open_error();
        (void)close(parent);
        parent = child;
    }
    *ret = steal_fd(&parent);
    return 0;
}

static int make_child(int parent, const char *name, bool *made, int *ret) {
    *made = mkdirat(parent, name, 0700) == 0;
    if (!*made && errno != EEXIST)
        return err_errno("cannot make a mail folder");
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return open_error();
    *ret = fd;
    return 0;
}

int maildir_open(int root, const char *directory, bool *ret_made, struct maildir *ret) {
    cleanup(fd) int folder = -1;
    struct maildir m = MAILDIR_INIT;
    bool made_cur = false, made = false;
    int r = make_beneath(root, directory, &folder);
    if (r == 0)
        r = make_child(folder, "tmp", &made, &m.tmp);
    if (r == 0)
        r = make_child(folder, "new", &made, &m.fresh);
    if (r == 0)
        r = make_child(folder, "cur", &made_cur, &m.cur);
    if (r < 0) {
        maildir_close(&m);
        return r;
    }
    *ret_made = made_cur;
    *ret = m;
    return 0;
}

void maildir_close(struct maildir *m) {
    fd_cleanup(&m->cur);
    fd_cleanup(&m->fresh);
    fd_cleanup(&m->tmp);
    *m = (struct maildir)MAILDIR_INIT;
}

static DIR *open_list(int dir) {
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (fd >= 0 && !d)
        (void)close(fd);
    return d;
}

int maildir_clean(const struct maildir *m) {
    cleanup(dir) DIR *d = open_list(m->tmp);
    if (!d)
        return err_errno("cannot read a mail folder");
    for (struct dirent *e; (e = readdir(d));)
        if (strncmp(e->d_name, PART, sizeof PART - 1) == 0)
            (void)unlinkat(m->tmp, e->d_name, 0);
    return 0;
}

static int dir_of(const struct maildir *m, enum maildir_place place) {
    return place == MAILDIR_NEW ? m->fresh : m->cur;
}

static int list_add(struct maildir_list *list, size_t *allocated, struct plan_local item, const char *name) {
    if (list->n == *allocated) {
        size_t more = *allocated ? *allocated * 2 : 256;
        struct plan_local *grown = reallocarray(list->items, more, sizeof *grown);
        if (!grown)
            return err_set(ERR_SYSTEM, "out of memory");
        list->items = grown;
        *allocated = more;
    }
    item.name = (uint32_t)list->names.len;
    int r = buf_add(&list->names, name, strlen(name) + 1);
    if (r == 0)
        list->items[list->n++] = item;
    return r;
}

static int scan_dir(const struct maildir *m, enum maildir_place place, uint32_t hash, uint32_t uidvalidity,
                    struct maildir_list *list, size_t *allocated) {
    cleanup(dir) DIR *d = open_list(dir_of(m, place));
    if (!d)
        return err_errno("cannot read a mail folder");
    errno = 0;
    for (struct dirent *e; (e = readdir(d)); errno = 0) {
        struct name_message message;
        const char *suffix = NULL;
        if (!name_parse(e->d_name, &message, &suffix) || message.hash != hash)
            continue;
        struct plan_local item = {.uid = message.uid, .flags = (uint8_t)name_flags(suffix), .place = place};
        int r;
        if (message.uidvalidity == uidvalidity) {
            r = list_add(list, allocated, item, e->d_name);
        } else {
            r = buf_add(&list->stale, place == MAILDIR_NEW ? "n" : "c", 1);
            if (r == 0)
                r = buf_add(&list->stale, e->d_name, strlen(e->d_name) + 1);
        }
        if (r < 0)
            return r;
    }
    return errno == 0 ? 0 : err_errno("cannot read a mail folder");
}

/* By UID; of the same UID twice, the one read last comes last and stays. */
static int compare(const void *a, const void *b) {
    const struct plan_local *x = a, *y = b;
    if (x->uid != y->uid)
        return x->uid < y->uid ? -1 : 1;
    return x->name < y->name ? -1 : x->name > y->name;
}

static void list_sort(struct maildir_list *list) {
    size_t kept = 0;
    if (list->n > 1)
        qsort(list->items, list->n, sizeof *list->items, compare);
    for (size_t i = 0; i < list->n; i++) {
        if (i + 1 < list->n && list->items[i + 1].uid == list->items[i].uid)
            continue;
        list->items[kept++] = list->items[i];
    }
    list->n = kept;
}

struct times {
    struct timespec cur, fresh;
};

static int take_times(const struct maildir *m, struct times *ret) {
    struct stat cur, fresh;
    if (fstat(m->cur, &cur) != 0 || fstat(m->fresh, &fresh) != 0)
        return err_errno("cannot read a mail folder");
    *ret = (struct times){.cur = cur.st_mtim, .fresh = fresh.st_mtim};
    return 0;
}

static bool is_quiet(const struct timespec *then, const struct timespec *now) {
    int64_t age = (now->tv_sec - then->tv_sec) * 1000000000LL + (now->tv_nsec - then->tv_nsec);
    return age > QUIET_NS || age < -QUIET_NS;
}

int maildir_scan(const struct maildir *m, uint32_t hash, uint32_t uidvalidity, struct maildir_list *ret) {
    cleanup(maildir_list) struct maildir_list list = {0};
    struct times before = {0}, after = {0};
    struct timespec now;
    size_t allocated = 0;
    int r = take_times(m, &before);
    (void)clock_gettime(CLOCK_REALTIME, &now);
    /* new/ first: readers move from new/ to cur/, so a message on its way is seen at least once. */
    if (r == 0)
        r = scan_dir(m, MAILDIR_NEW, hash, uidvalidity, &list, &allocated);
    if (r == 0)
        r = scan_dir(m, MAILDIR_CUR, hash, uidvalidity, &list, &allocated);
    if (r == 0)
        r = take_times(m, &after);
    if (r < 0)
        return r;
    list_sort(&list);
    list.steady = memcmp(&before.cur, &after.cur, sizeof before.cur) == 0 &&
                  memcmp(&before.fresh, &after.fresh, sizeof before.fresh) == 0 &&
                  is_quiet(&before.cur, &now) && is_quiet(&before.fresh, &now);
    *ret = list;
    list = (struct maildir_list){0};
    return 0;
}

void maildir_list_finish(struct maildir_list *list) {
    free(list->items);
    buf_finish(&list->names);
    buf_finish(&list->stale);
    *list = (struct maildir_list){0};
}

int maildir_remove_stale(const struct maildir *m, const struct maildir_list *list) {
    for (size_t at = 0; at < list->stale.len;) {
        const char *entry = list->stale.data + at;
        if (unlinkat(*entry == 'n' ? m->fresh : m->cur, entry + 1, 0) != 0 && errno != ENOENT)
            return err_errno("cannot remove a mail file");
        at += strlen(entry) + 1;
    }
    return 0;
}

int maildir_set_flags(const struct maildir *m, const struct maildir_list *list, const struct plan_local *item,
                      unsigned flags) {
    const char *old = list->names.data + item->name, *suffix = NULL;
    struct name_message message;
    char now[NAME_MESSAGE_SIZE + NAME_SUFFIX_MAX];
    if (!name_parse(old, &message, &suffix))
        return err_set(ERR_INVALID, "not a message file of ours");
    name_suffix(suffix, flags, now + name_message(&message, now));
    if (renameat(dir_of(m, item->place), old, m->cur, now) == 0)
        return 0;
    return errno == ENOENT ? MAILDIR_VANISHED : err_errno("cannot rename a mail file");
}

int maildir_unlink(const struct maildir *m, const struct maildir_list *list, const struct plan_local *item) {
    if (unlinkat(dir_of(m, item->place), list->names.data + item->name, 0) == 0)
        return 0;
    return errno == ENOENT ? MAILDIR_VANISHED : err_errno("cannot remove a mail file");
}

static const char *part_name(unsigned number, char out[32]) {
    (void)snprintf(out, 32, PART "%u", number);
    return out;
}

int maildir_part_open(const struct maildir *m, unsigned number, struct maildir_part *ret) {
    char name[32];
    int fd =
        openat(m->tmp, part_name(number, name), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno("cannot write mail");
    *ret = (struct maildir_part){.fd = fd, .number = number};
    return 0;
}

int maildir_part_write(struct maildir_part *part, const char *data, size_t n) {
    while (n > 0) {
        ssize_t done = write(part->fd, data, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return err_errno("cannot write mail");
        data += done;
        n -= (size_t)done;
    }
    return 0;
}

int maildir_part_close(struct maildir_part *part, int64_t seconds) {
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = (time_t)seconds}};
    int r = futimens(part->fd, times) == 0 ? 0 : err_errno("cannot set the time of a mail file");
    if (close(part->fd) != 0 && r == 0)
        r = err_errno("cannot write mail");
    part->fd = -1;
    return r;
}

void maildir_part_drop(const struct maildir *m, unsigned number) {
    char name[32];
    (void)unlinkat(m->tmp, part_name(number, name), 0);
}

static void placed_name(const struct name_message *message, unsigned flags, enum maildir_place place,
                        char *out) {
    size_t n = name_message(message, out);
    if (place == MAILDIR_CUR)
        name_suffix("", flags, out + n);
}

int maildir_place(const struct maildir *m, unsigned number, const struct name_message *message,
                  unsigned flags, enum maildir_place place) {
    char part[32], name[NAME_MESSAGE_SIZE + NAME_SUFFIX_MAX];
    placed_name(message, flags, place, name);
    if (renameat(m->tmp, part_name(number, part), dir_of(m, place), name) != 0)
        return err_errno("cannot place a mail file");
    return 0;
}

int maildir_sync_file(const struct maildir *m, const struct name_message *message, unsigned flags,
                      enum maildir_place place) {
    char name[NAME_MESSAGE_SIZE + NAME_SUFFIX_MAX];
    placed_name(message, flags, place, name);
    cleanup(fd) int fd = openat(dir_of(m, place), name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? MAILDIR_VANISHED : err_errno("cannot open a mail file");
    return fsync(fd) == 0 ? 0 : err_errno("cannot write mail to disk");
}

int maildir_sync_dirs(const struct maildir *m) {
    return fsync(m->cur) == 0 && fsync(m->fresh) == 0 ? 0 : err_errno("cannot write mail to disk");
}

/* Removes the files of the mailbox in one directory. */
static int remove_files(int dir, uint32_t hash) {
    cleanup(dir) DIR *d = open_list(dir);
    if (!d)
        return err_errno("cannot read a mail folder");
    for (struct dirent *e; (e = readdir(d));) {
        struct name_message message;
        const char *suffix = NULL;
        bool ours = strncmp(e->d_name, PART, sizeof PART - 1) == 0 ||
                    (name_parse(e->d_name, &message, &suffix) && message.hash == hash);
        if (ours && unlinkat(dir, e->d_name, 0) != 0 && errno != ENOENT)
            return err_errno("cannot remove a mail file");
    }
    return 0;
}

int maildir_remove(int root, const char *directory, uint32_t hash) {
    static const char *const parts[] = {"cur", "new", "tmp"};
    cleanup(fd) int folder = open_beneath(root, directory);
    if (folder < 0)
        return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0
                                                                     : err_errno("cannot open a mail folder");
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        cleanup(fd) int dir = openat(folder, parts[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int r = dir < 0 ? 0 : remove_files(dir, hash);
        if (r < 0)
            return r;
        (void)unlinkat(folder, parts[i], AT_REMOVEDIR); /* stays where a reader keeps files of its own */
    }
    (void)unlinkat(root, directory, AT_REMOVEDIR); /* stays while it holds other folders */
    return 0;
}
