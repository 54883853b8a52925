#include "agent/mail/sync/maildir.h"
#include "agent/mail/sync/beneath.h"
#include "agent/mail/sync/hook.h"
#include "agent/mail/sync/keyword.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PART "satchel.part."
#define QUIET_NS                                                                                             \
    20000000LL /* a directory's time has the kernel tick's resolution; what is younger may change unseen */

static void dir_cleanup(DIR **d) {
    if (*d)
        (void)closedir(*d);
}

static int make_child(int parent, const char *name, bool *made, int *ret) {
    *made = mkdirat(parent, name, 0700) == 0;
    if (!*made && errno != EEXIST)
        return err_errno("cannot make a mail folder");
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return beneath_error();
    *ret = fd;
    return 0;
}

/* Opens an existing directory, MAILDIR_VANISHED where there is none. */
static int open_child(int parent, const char *name, int *ret) {
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? MAILDIR_VANISHED : beneath_error();
    *ret = fd;
    return 0;
}

static int open_folder(int root, const char *directory, int *ret) {
    int fd = beneath_open(root, directory);
    if (fd < 0)
        return errno == ENOENT ? MAILDIR_VANISHED : beneath_error();
    *ret = fd;
    return 0;
}

int maildir_open(int root, const char *directory, bool make, bool *ret_made, struct maildir *ret) {
    struct maildir m = MAILDIR_INIT;
    bool made_cur = false, made = false;
    int r = make ? beneath_make(root, directory, &m.folder) : open_folder(root, directory, &m.folder);
    if (r == 0)
        r = make ? make_child(m.folder, "tmp", &made, &m.tmp) : open_child(m.folder, "tmp", &m.tmp);
    if (r == 0)
        r = make ? make_child(m.folder, "new", &made, &m.fresh) : open_child(m.folder, "new", &m.fresh);
    if (r == 0)
        r = make ? make_child(m.folder, "cur", &made_cur, &m.cur) : open_child(m.folder, "cur", &m.cur);
    if (r != 0) {
        maildir_close(&m);
        return r;
    }
    *ret_made = made_cur;
    *ret = m;
    return 0;
}

void maildir_close(struct maildir *m) {
    fd_cleanup(&m->folder);
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

static int dir_of(const struct maildir *m, enum maildir_place place) {
    return place == MAILDIR_NEW ? m->fresh : m->cur;
}

/* -- names ---------------------------------------------------------------------------------------------- */

/* Where an unread message of ours lies, and everything else: in cur. */
static enum maildir_place place_of(uint32_t flags, enum maildir_place unread) {
    return flags ? MAILDIR_CUR : unread;
}

static void file_name(const struct maildir *m, uint32_t uid, uint32_t seconds, uint32_t flags,
                      enum maildir_place place, char out[MAILDIR_NAME_MAX]) {
    struct name_message message = {
        .seconds = seconds, .hash = m->hash, .uidvalidity = m->uidvalidity, .uid = uid};
    size_t n = name_message(&message, out);
    if (place == MAILDIR_CUR)
        name_suffix("", flags, out + n);
}

static const char *part_name(const struct maildir *m, uint32_t uid, char out[64]) {
    (void)snprintf(out, 64, PART "%u_%u", m->uidvalidity, uid);
    return out;
}

/* What an item's file may be called: `i` 0 is what the item says, 1 the same in new/. NULL: no more. */
static const char *item_name(const struct maildir *m, const struct buf *names, const struct plan_local *item,
                             int i, enum maildir_place *ret_place, char out[MAILDIR_NAME_MAX]) {
    if (item->odd && names) {
        *ret_place = item->place;
        return i == 0 ? names->data + item->odd - 1 : NULL;
    }
    *ret_place = i == 0 ? (enum maildir_place)item->place : MAILDIR_NEW;
    if (i > 1 || (i == 1 && (item->place == MAILDIR_NEW || item->flags)))
        return NULL;
    file_name(m, item->uid, item->seconds, item->flags, *ret_place, out);
    return out;
}

int maildir_entry(struct buf *entries, enum maildir_place place, const char *name) {
    int r = buf_add(entries, place == MAILDIR_NEW ? "n" : "c", 1);
    return r < 0 ? r : buf_add(entries, name, strlen(name) + 1);
}

bool maildir_has_entry(const struct buf *entries, enum maildir_place place, const char *name) {
    for (size_t at = 0; at < entries->len; at += strlen(entries->data + at) + 1)
        if (maildir_entry_place(entries->data + at) == place && strcmp(entries->data + at + 1, name) == 0)
            return true;
    return false;
}

/* -- listing -------------------------------------------------------------------------------------------- */

/* A scan under way. */
struct scan {
    const struct maildir *m;
    struct maildir_list list;
    size_t allocated;
};

static void scan_cleanup(struct scan *s) {
    maildir_list_finish(&s->list);
}

static int scan_add(struct scan *s, struct plan_local item, const char *name) {
    struct maildir_list *list = &s->list;
    if (list->n == s->allocated) {
        size_t more = s->allocated ? s->allocated + s->allocated / 2 : 256;
        struct plan_local *grown = reallocarray(list->items, more, sizeof *grown);
        if (!grown)
            return err_set(ERR_SYSTEM, "out of memory");
        list->items = grown;
        s->allocated = more;
    }
    int r = 0;
    if (item.odd) {
        item.odd = (uint32_t)list->names.len + 1;
        r = buf_add(&list->names, name, strlen(name) + 1);
    }
    if (r == 0)
        list->items[list->n++] = item;
    return r;
}

/* Whether the file's time is not the one that was set. */
static bool time_differs(const struct stat *st, uint32_t seconds) {
    return st->st_mtim.tv_sec != (time_t)seconds || st->st_mtim.tv_nsec != 0;
}

static int scan_ours(struct scan *s, enum maildir_place place, const char *name,
                     const struct name_message *message, const char *suffix) {
    struct stat st;
    bool odd = false;
    if (fstatat(dir_of(s->m, place), name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode))
        return 0;
    uint32_t flags = name_flags(suffix, &odd);
    if (place == MAILDIR_NEW)
        odd = *suffix != '\0';
    return scan_add(s,
                    (struct plan_local){.uid = message->uid,
                                        .flags = flags,
                                        .seconds = (uint32_t)message->seconds,
                                        .odd = odd,
                                        .place = place,
                                        .edited = time_differs(&st, (uint32_t)message->seconds)},
                    name);
}

static bool is_candidate(const struct dirent *e) {
    return e->d_name[0] != '.' && e->d_type != DT_DIR && strlen(e->d_name) < MAILDIR_NAME_MAX - 1;
}

static int scan_dir(struct scan *s, enum maildir_place place) {
    cleanup(dir) DIR *d = open_list(dir_of(s->m, place));
    if (!d)
        return err_errno("cannot read a mail folder");
    errno = 0;
    for (struct dirent *e; (e = readdir(d)); errno = 0) {
        struct name_message message;
        const char *suffix = NULL;
        int r;
        if (!is_candidate(e))
            continue;
        if (!name_parse(e->d_name, &message, &suffix) || message.hash != s->m->hash)
            r = maildir_entry(&s->list.foreign, place, e->d_name);
        else if (message.uidvalidity != s->m->uidvalidity)
            r = maildir_entry(&s->list.stale, place, e->d_name);
        else
            r = scan_ours(s, place, e->d_name, &message, suffix);
        if (r < 0)
            return r;
    }
    return errno == 0 ? 0 : err_errno("cannot read a mail folder");
}

static int compare(const struct plan_local *x, const struct plan_local *y) {
    if (x->uid != y->uid)
        return x->uid < y->uid ? -1 : 1;
    return x->flags < y->flags ? -1 : x->flags > y->flags;
}

static void sift(struct plan_local *items, size_t at, size_t n) {
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && compare(&items[child], &items[child + 1]) < 0)
            child++;
        if (compare(&items[at], &items[child]) >= 0)
            return;
        struct plan_local item = items[at];
        items[at] = items[child];
        items[child] = item;
    }
}

/* A heap sort: qsort(3) would take as much memory again. */
static void sort(struct plan_local *items, size_t n) {
    for (size_t i = n / 2; i-- > 0;)
        sift(items, i, n);
    for (size_t end = n; end-- > 1;) {
        struct plan_local last = items[end];
        items[end] = items[0];
        items[0] = last;
        sift(items, 0, end);
    }
}

/* By UID; of one that is there twice, the last stays and the others are extra. */
static int scan_sort(struct scan *s) {
    struct maildir_list *list = &s->list;
    char name[MAILDIR_NAME_MAX];
    size_t kept = 0;
    sort(list->items, list->n);
    for (size_t i = 0; i < list->n; i++) {
        const struct plan_local *item = &list->items[i];
        if (i + 1 < list->n && list->items[i + 1].uid == item->uid) {
            enum maildir_place place = MAILDIR_CUR;
            const char *text = item_name(s->m, &list->names, item, 0, &place, name);
            int r = text ? maildir_entry(&list->extra, place, text) : 0;
            if (r < 0)
                return r;
            continue;
        }
        list->items[kept++] = *item;
    }
    list->n = kept;
    return 0;
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

int maildir_scan(const struct maildir *m, struct maildir_list *ret) {
    cleanup(scan) struct scan s = {.m = m};
    struct times before = {0}, after = {0};
    struct timespec now;
    int r = take_times(m, &before);
    (void)clock_gettime(CLOCK_REALTIME, &now);
    /* new/ first: readers move from new/ to cur/, so a message on its way is seen at least once. */
    if (r == 0)
        r = scan_dir(&s, MAILDIR_NEW);
    if (r == 0)
        r = scan_dir(&s, MAILDIR_CUR);
    if (r == 0)
        r = take_times(m, &after);
    if (r == 0)
        r = scan_sort(&s);
    if (r < 0)
        return r;
    s.list.steady = memcmp(&before.cur, &after.cur, sizeof before.cur) == 0 &&
                    memcmp(&before.fresh, &after.fresh, sizeof before.fresh) == 0 &&
                    is_quiet(&before.cur, &now) && is_quiet(&before.fresh, &now);
    *ret = s.list;
    s.list = (struct maildir_list){0};
    return 0;
}

static int foreign_dir(const struct maildir *m, enum maildir_place place, struct buf *ret) {
    cleanup(dir) DIR *d = open_list(dir_of(m, place));
    if (!d)
        return err_errno("cannot read a mail folder");
    errno = 0;
    for (struct dirent *e; (e = readdir(d)); errno = 0) {
        struct name_message message;
        const char *suffix = NULL;
        if (!is_candidate(e) || (name_parse(e->d_name, &message, &suffix) && message.hash == m->hash))
            continue;
        int r = maildir_entry(ret, place, e->d_name);
        if (r < 0)
            return r;
    }
    return errno == 0 ? 0 : err_errno("cannot read a mail folder");
}

int maildir_foreign(const struct maildir *m, struct buf *ret) {
    cleanup(buf) struct buf foreign = {0};
    int r = foreign_dir(m, MAILDIR_NEW, &foreign);
    if (r == 0)
        r = foreign_dir(m, MAILDIR_CUR, &foreign);
    if (r < 0)
        return r;
    buf_finish(ret);
    *ret = foreign;
    foreign = (struct buf){0};
    return 0;
}

void maildir_list_finish(struct maildir_list *list) {
    free(list->items);
    buf_finish(&list->names);
    buf_finish(&list->stale);
    buf_finish(&list->foreign);
    buf_finish(&list->extra);
    *list = (struct maildir_list){0};
}

/* -- files of ours -------------------------------------------------------------------------------------- */

int maildir_set_flags(const struct maildir *m, const struct buf *names, const struct plan_local *item,
                      uint32_t flags) {
    char old[MAILDIR_NAME_MAX], now[MAILDIR_NAME_MAX];
    enum maildir_place place = MAILDIR_CUR;
    const char *name;
    for (int i = 0; (name = item_name(m, names, item, i, &place, old)); i++) {
        struct name_message message;
        const char *suffix = NULL;
        if (!name_parse(name, &message, &suffix))
            return err_set(ERR_INVALID, "not a message file of ours");
        name_suffix(suffix, flags, now + name_message(&message, now));
        if (renameat(dir_of(m, place), name, m->cur, now) == 0) {
            mail_hook_step();
            return 0;
        }
        if (errno != ENOENT)
            return err_errno("cannot rename a mail file");
    }
    return MAILDIR_VANISHED;
}

int maildir_unlink(const struct maildir *m, const struct buf *names, const struct plan_local *item) {
    char buffer[MAILDIR_NAME_MAX];
    enum maildir_place place = MAILDIR_CUR;
    const char *name;
    for (int i = 0; (name = item_name(m, names, item, i, &place, buffer)); i++) {
        if (unlinkat(dir_of(m, place), name, 0) == 0) {
            mail_hook_step();
            return 0;
        }
        if (errno != ENOENT)
            return err_errno("cannot remove a mail file");
    }
    return MAILDIR_VANISHED;
}

int maildir_exists(const struct maildir *m, const struct buf *names, const struct plan_local *item) {
    char buffer[MAILDIR_NAME_MAX];
    enum maildir_place place = MAILDIR_CUR;
    const char *name;
    for (int i = 0; (name = item_name(m, names, item, i, &place, buffer)); i++) {
        if (faccessat(dir_of(m, place), name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
            return 0;
        if (errno != ENOENT)
            return err_errno("cannot look for a mail file");
    }
    return MAILDIR_VANISHED;
}

static int open_item(const struct maildir *m, const struct buf *names, const struct plan_local *item,
                     int *ret) {
    char buffer[MAILDIR_NAME_MAX];
    enum maildir_place place = MAILDIR_CUR;
    const char *name;
    for (int i = 0; (name = item_name(m, names, item, i, &place, buffer)); i++) {
        int fd = openat(dir_of(m, place), name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
        if (fd >= 0) {
            *ret = fd;
            return 0;
        }
        if (errno != ENOENT)
            return err_errno("cannot open a mail file");
    }
    return MAILDIR_VANISHED;
}

static int set_time(int fd, uint32_t seconds) {
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = (time_t)seconds}};
    return futimens(fd, times) == 0 ? 0 : err_errno("cannot set the time of a mail file");
}

int maildir_is_edited(const struct maildir *m, const struct buf *names, const struct plan_local *item,
                      uint64_t size, uint32_t crc, bool *ret) {
    cleanup(fd) int fd = -1;
    struct content content = {0};
    struct stat st;
    int r = open_item(m, names, item, &fd);
    if (r != 0)
        return r;
    if (fstat(fd, &st) != 0)
        return err_errno("cannot read a mail file");
    if (!time_differs(&st, item->seconds)) {
        *ret = false;
        return 0;
    }
    r = content_measure(fd, &content);
    if (r < 0)
        return r;
    bool edited = content.size != size || content.crc != crc;
    r = edited ? 0 : set_time(fd, item->seconds);
    if (r == 0)
        *ret = edited;
    return r;
}

int maildir_measure(const struct maildir *m, const struct plan_local *item, struct content *ret) {
    cleanup(fd) int fd = -1;
    int r = open_item(m, NULL, item, &fd);
    return r != 0 ? r : content_measure(fd, ret);
}

int maildir_detach(const struct maildir *m, const struct buf *names, const struct plan_local *item,
                   struct buf *foreign) {
    char buffer[MAILDIR_NAME_MAX], entry[MAILDIR_NAME_MAX + 1];
    enum maildir_place place = MAILDIR_CUR;
    const char *name;
    for (int i = 0; (name = item_name(m, names, item, i, &place, buffer)); i++) {
        (void)snprintf(entry, sizeof entry, "%c%s", place == MAILDIR_NEW ? 'n' : 'c', name);
        int r = maildir_entry_detach(m, entry, foreign);
        if (r != MAILDIR_VANISHED)
            return r;
    }
    return MAILDIR_VANISHED;
}

/* -- files of readers ----------------------------------------------------------------------------------- */

int maildir_entry_open(const struct maildir *m, const char *entry, int *ret_fd) {
    struct stat st;
    cleanup(fd) int fd = openat(dir_of(m, maildir_entry_place(entry)), entry + 1,
                                O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT                     ? MAILDIR_VANISHED
               : errno == ELOOP || errno == EACCES ? err_set(ERR_INVALID, "no file that can be read")
                                                   : err_errno("cannot open a mail file");
    if (fstat(fd, &st) != 0)
        return err_errno("cannot read a mail file");
    if (!S_ISREG(st.st_mode))
        return err_set(ERR_INVALID, "no regular file");
    *ret_fd = steal_fd(&fd);
    return 0;
}

int maildir_entry_unlink(const struct maildir *m, const char *entry) {
    if (unlinkat(dir_of(m, maildir_entry_place(entry)), entry + 1, 0) == 0) {
        mail_hook_step();
        return 0;
    }
    return errno == ENOENT ? MAILDIR_VANISHED : err_errno("cannot remove a mail file");
}

int maildir_entry_detach(const struct maildir *m, const char *entry, struct buf *foreign) {
    char now[NAME_MESSAGE_SIZE + NAME_SUFFIX_MAX];
    struct name_message message = {0};
    const char *suffix = "", *colon = strrchr(entry, ':');
    if (!name_parse(entry + 1, &message, &suffix) && colon)
        suffix = colon;
    name_foreign(message.seconds, now);
    name_suffix(suffix, name_flags(suffix, NULL), now + strlen(now));
    int dir = dir_of(m, maildir_entry_place(entry));
    if (renameat(dir, entry + 1, m->cur, now) != 0)
        return errno == ENOENT ? MAILDIR_VANISHED : err_errno("cannot rename a mail file");
    mail_hook_step();
    return maildir_entry(foreign, MAILDIR_CUR, now);
}

/* A rename that replaces nothing. Not every file system can tell (FUSE): there a look has to do. */
static int rename_new(int from, const char *old, int to, const char *now) {
    if (renameat2(from, old, to, now, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -1;
    if (faccessat(to, now, F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
        errno = EEXIST;
        return -1;
    }
    return renameat(from, old, to, now);
}

int maildir_entry_settle(const struct maildir *m, const char *entry, uint32_t seconds, uint64_t size,
                         uint32_t crc) {
    cleanup(fd) int fd = -1;
    struct content content = {0};
    struct stat st;
    int r = maildir_entry_open(m, entry, &fd);
    if (r != 0)
        return r == ERR_INVALID ? 0 : r;
    if (fstat(fd, &st) != 0)
        return err_errno("cannot read a mail file");
    if (!time_differs(&st, seconds))
        return 0;
    r = content_measure(fd, &content);
    return r == 0 && content.size == size && content.crc == crc ? set_time(fd, seconds) : r;
}

int maildir_entry_adopt(const struct maildir *m, const char *entry, const struct timespec *read, uint32_t uid,
                        uint32_t seconds, uint32_t flags) {
    char now[MAILDIR_NAME_MAX];
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = (time_t)seconds}};
    enum maildir_place from = maildir_entry_place(entry), to = place_of(flags, from);
    struct stat st;
    file_name(m, uid, seconds, flags, to, now);
    bool is_named = from == to && strcmp(entry + 1, now) == 0;
    if ((!is_named && rename_new(dir_of(m, from), entry + 1, dir_of(m, to), now) != 0) ||
        fstatat(dir_of(m, to), now, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT || errno == EEXIST ? MAILDIR_VANISHED : err_errno("cannot rename a mail file");
    bool same = st.st_mtim.tv_sec == read->tv_sec && st.st_mtim.tv_nsec == read->tv_nsec;
    if (same && utimensat(dir_of(m, to), now, times, AT_SYMLINK_NOFOLLOW) != 0 && errno != ENOENT)
        return err_errno("cannot set the time of a mail file");
    mail_hook_step();
    return 0;
}

/* -- coming down ---------------------------------------------------------------------------------------- */

int maildir_part_open(const struct maildir *m, uint32_t uid, int64_t from, int64_t *ret_have,
                      struct maildir_part *ret) {
    char name[64];
    struct stat st;
    cleanup(fd) int fd = openat(m->tmp, part_name(m, uid, name),
                                O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | (from ? 0 : O_TRUNC), 0600);
    if (fd < 0 || fstat(fd, &st) != 0)
        return err_errno("cannot write mail");
    int64_t have = st.st_size < from ? 0 : from;
    if (from && (ftruncate(fd, have) != 0 || lseek(fd, have, SEEK_SET) < 0))
        return err_errno("cannot write mail");
    *ret_have = have;
    *ret = (struct maildir_part){.fd = steal_fd(&fd), .uid = uid};
    return 0;
}

static int write_all(int fd, const char *data, size_t n) {
    while (n > 0) {
        ssize_t done = write(fd, data, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return err_errno("cannot write mail");
        data += done;
        n -= (size_t)done;
    }
    return 0;
}

int maildir_part_write(struct maildir_part *part, const char *data, size_t n) {
    return write_all(part->fd, data, n);
}

void maildir_part_close(struct maildir_part *part) {
    fd_cleanup(&part->fd);
    part->fd = -1;
}

void maildir_part_drop(const struct maildir *m, uint32_t uid) {
    char name[64];
    (void)unlinkat(m->tmp, part_name(m, uid, name), 0);
}

int maildir_part_place(const struct maildir *m, struct maildir_part *part, uint32_t uid, uint32_t seconds,
                       uint32_t flags, enum maildir_place unread) {
    char name[64], now[MAILDIR_NAME_MAX];
    enum maildir_place place = place_of(flags, unread);
    int r = set_time(part->fd, seconds);
    if (close(steal_fd(&part->fd)) != 0 && r == 0)
        r = err_errno("cannot write mail");
    if (r < 0)
        return r;
    file_name(m, uid, seconds, flags, place, now);
    if (renameat(m->tmp, part_name(m, part->uid, name), dir_of(m, place), now) != 0)
        return err_errno("cannot place a mail file");
    mail_hook_step();
    return 0;
}

int maildir_create(const struct maildir *m, uint32_t uid, uint32_t seconds, uint32_t flags,
                   enum maildir_place unread, const char *data, size_t n) {
    char name[MAILDIR_NAME_MAX];
    enum maildir_place place = place_of(flags, unread);
    file_name(m, uid, seconds, flags, place, name);
    int fd = openat(dir_of(m, place), name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno("cannot write mail");
    int r = write_all(fd, data, n);
    if (r == 0)
        r = set_time(fd, seconds);
    if (close(fd) != 0 && r == 0)
        r = err_errno("cannot write mail");
    if (r < 0)
        (void)unlinkat(dir_of(m, place), name, 0);
    mail_hook_step();
    return r;
}

int maildir_sync_file(const struct maildir *m, uint32_t uid, uint32_t seconds, uint32_t flags,
                      enum maildir_place unread) {
    char name[MAILDIR_NAME_MAX];
    enum maildir_place place = place_of(flags, unread);
    file_name(m, uid, seconds, flags, place, name);
    cleanup(fd) int fd = openat(dir_of(m, place), name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? MAILDIR_VANISHED : err_errno("cannot open a mail file");
    return fsync(fd) == 0 ? 0 : err_errno("cannot write mail to disk");
}

int maildir_sync_dirs(const struct maildir *m) {
    return fsync(m->cur) == 0 && fsync(m->fresh) == 0 ? 0 : err_errno("cannot write mail to disk");
}

int maildir_clean(const struct maildir *m, bool (*keep)(void *ctx, uint32_t uid), void *ctx) {
    cleanup(dir) DIR *d = open_list(m->tmp);
    if (!d)
        return err_errno("cannot read a mail folder");
    for (struct dirent *e; (e = readdir(d));) {
        unsigned uidvalidity = 0, uid = 0;
        if (strncmp(e->d_name, PART, sizeof PART - 1) != 0)
            continue;
        bool ours = sscanf(e->d_name + sizeof PART - 1, "%u_%u", &uidvalidity, &uid) == 2 &&
                    uidvalidity == m->uidvalidity;
        if (!ours || !keep(ctx, uid))
            (void)unlinkat(m->tmp, e->d_name, 0);
    }
    return 0;
}

/* -- whole folders -------------------------------------------------------------------------------------- */

/* Removes the files of the mailbox in one directory. */
static int remove_files(int dir, uint32_t hash, bool *left) {
    cleanup(dir) DIR *d = open_list(dir);
    if (!d)
        return err_errno("cannot read a mail folder");
    for (struct dirent *e; (e = readdir(d));) {
        struct name_message message;
        const char *suffix = NULL;
        struct stat st;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        bool ours = strncmp(e->d_name, PART, sizeof PART - 1) == 0;
        if (!ours && name_parse(e->d_name, &message, &suffix) && message.hash == hash)
            ours = fstatat(dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
                   !time_differs(&st, (uint32_t)message.seconds);
        if (ours && unlinkat(dir, e->d_name, 0) != 0 && errno != ENOENT)
            return err_errno("cannot remove a mail file");
        *left = *left || !ours;
    }
    return 0;
}

int maildir_remove(int root, const char *directory, uint32_t hash, bool *ret_left) {
    static const char *const parts[] = {"cur", "new", "tmp"};
    bool left = false;
    cleanup(fd) int folder = beneath_open(root, directory);
    if (folder < 0 && errno != ENOENT && errno != ENOTDIR && errno != ELOOP)
        return err_errno("cannot open a mail folder");
    for (size_t i = 0; folder >= 0 && i < sizeof parts / sizeof *parts; i++) {
        cleanup(fd) int dir = openat(folder, parts[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int r = dir < 0 ? 0 : remove_files(dir, hash, &left);
        if (r < 0)
            return r;
    }
    for (size_t i = 0; folder >= 0 && !left && i < sizeof parts / sizeof *parts; i++)
        (void)unlinkat(folder, parts[i], AT_REMOVEDIR);
    if (folder >= 0 && !left) {
        (void)unlinkat(folder, KEYWORD_FILE, 0);
        (void)unlinkat(root, directory, AT_REMOVEDIR); /* stays while it holds other folders */
    }
    mail_hook_step();
    *ret_left = left;
    return 0;
}

/* Whether the directory holds nothing but the parts of one folder. */
static bool is_leaf(int folder) {
    cleanup(dir) DIR *d = open_list(folder);
    bool leaf = d != NULL;
    for (struct dirent *e; leaf && (e = readdir(d));)
        leaf = e->d_name[0] == '.' || strcmp(e->d_name, "cur") == 0 || strcmp(e->d_name, "new") == 0 ||
               strcmp(e->d_name, "tmp") == 0 || strcmp(e->d_name, KEYWORD_FILE) == 0;
    return leaf;
}

/* The directory as a whole, at once. *ret_done false: it has to be done by parts. */
static int rename_whole(int root, const char *from, const char *to, bool *ret_done) {
    cleanup(fd) int above_old = -1, above_new = -1;
    const char *old = "", *now = "";
    int r = beneath_parent(root, from, &above_old, &old);
    if (r == 0)
        r = beneath_parent(root, to, &above_new, &now);
    if (r == 0)
        *ret_done = rename_new(above_old, old, above_new, now) == 0;
    return r;
}

/* Moves what is in one directory into another that is there already. What has the same name stays. */
static int merge_files(int from, int to) {
    cleanup(dir) DIR *d = open_list(from);
    if (!d)
        return err_errno("cannot read a mail folder");
    for (struct dirent *e; (e = readdir(d));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
            rename_new(from, e->d_name, to, e->d_name) != 0 && errno != EEXIST && errno != ENOENT)
            return err_errno("cannot rename a mail folder");
    return 0;
}

static int rename_part(int from, int to, const char *part) {
    if (rename_new(from, part, to, part) == 0 || errno == ENOENT)
        return 0;
    if (errno != EEXIST)
        return err_errno("cannot rename a mail folder");
    if (strcmp(part, KEYWORD_FILE) == 0)
        return renameat(from, part, to, part) == 0 ? 0 : err_errno("cannot rename a mail folder");
    cleanup(fd) int old = openat(from, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    cleanup(fd) int now = openat(to, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (old < 0 || now < 0)
        return err_set(ERR_REFUSED, "a folder of that name is already there");
    int r = merge_files(old, now);
    if (r == 0)
        (void)unlinkat(from, part, AT_REMOVEDIR);
    return r;
}

int maildir_rename(int root, const char *from, const char *to) {
    static const char *const parts[] = {KEYWORD_FILE, "cur", "new",
                                        "tmp"}; /* what letters mean comes first */
    cleanup(fd) int old = beneath_open(root, from), now = -1;
    bool done = false;
    if (old < 0)
        return errno == ENOENT ? MAILDIR_VANISHED : beneath_error();
    int r = is_leaf(old) ? rename_whole(root, from, to, &done) : 0;
    if (r == 0 && !done)
        r = beneath_make(root, to, &now);
    for (size_t i = 0; r == 0 && !done && i < sizeof parts / sizeof *parts; i++)
        r = rename_part(old, now, parts[i]);
    if (r == 0 && !done)
        (void)unlinkat(root, from, AT_REMOVEDIR); /* stays while it holds other folders */
    mail_hook_step();
    return r;
}
