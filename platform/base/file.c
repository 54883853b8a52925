#include "platform/base/file.h"
#include "platform/base/cleanup.h"
#include "platform/base/encode.h"
#include "platform/base/err.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

int file_read(int dir, const char *name, size_t max, struct buf *ret) {
    cleanup(fd) int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? err_set(ERR_NOT_FOUND, "%s does not exist", name)
                               : err_errno("cannot open %s", name);
    struct stat st;
    if (fstat(fd, &st) < 0)
        return err_errno("cannot read %s", name);
    if (!S_ISREG(st.st_mode))
        return err_set(ERR_INVALID, "%s is not a regular file", name);
    size_t before = ret->len;
    for (;;) {
        char chunk[16384];
        ssize_t n = read(fd, chunk, sizeof chunk);
        int r = n < 0 && errno != EINTR ? err_errno("cannot read %s", name) : 0;
        if (n > 0 && ret->len - before + (size_t)n > max)
            r = err_set(ERR_TOO_LARGE, "%s is larger than %zu bytes", name, max);
        if (n > 0 && r == 0)
            r = buf_add(ret, chunk, (size_t)n);
        explicit_bzero(chunk, sizeof chunk);
        if (r < 0) {
            ret->len = before;
            return r;
        }
        if (n == 0)
            return 0;
    }
}

static int file_write_all(int fd, const void *data, size_t n) {
    const char *p = data;
    while (n) {
        ssize_t w = write(fd, p, n);
        if (w < 0 && errno != EINTR)
            return -1;
        if (w > 0) {
            p += w;
            n -= (size_t)w;
        }
    }
    return 0;
}

int file_write_atomic(int dir, const char *name, const void *data, size_t n, mode_t mode) {
    char id[RANDOM_ID_SIZE], temporary[PATH_MAX];
    if ((size_t)snprintf(temporary, sizeof temporary, "%s.%s.tmp", name, random_id(id)) >= sizeof temporary)
        return err_set(ERR_INVALID, "the name %s is too long", name);
    cleanup(fd) int fd = openat(dir, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd < 0)
        return err_errno("cannot write %s", name);
    int r = 0;
    if (file_write_all(fd, data, n) < 0 || fsync(fd) < 0 || renameat(dir, temporary, dir, name) < 0) {
        r = err_errno("cannot write %s", name);
        (void)unlinkat(dir, temporary, 0);
        return r;
    }
    /* The rename is durable only once the directory that holds the name is. */
    cleanup(fd) int parent = -1;
    const char *slash = strrchr(name, '/');
    if (!slash) {
        parent = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    } else {
        char path[PATH_MAX];
        (void)snprintf(path, sizeof path, "%.*s", slash == name ? 1 : (int)(slash - name), name);
        parent = openat(dir, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    if (parent < 0 || fsync(parent) < 0)
        return err_errno("cannot make %s durable", name);
    return 0;
}

int file_make_dirs(const char *path, mode_t mode, int *ret_fd) {
    char copy[PATH_MAX];
    if (path[0] != '/' || (size_t)snprintf(copy, sizeof copy, "%s", path) >= sizeof copy)
        return err_set(ERR_INVALID, "%s is not a usable absolute path", path);
    for (char *p = copy + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        if (mkdir(copy, mode) < 0 && errno != EEXIST && errno != EROFS && errno != EACCES)
            return err_errno("cannot make the directory %s", copy);
        *p = '/';
    }
    if (mkdir(copy, mode) < 0 && errno != EEXIST)
        return err_errno("cannot make the directory %s", copy);
    int fd = open(copy, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_errno("cannot open the directory %s", copy);
    *ret_fd = fd;
    return 0;
}

int file_remove(int dir, const char *name) {
    if (unlinkat(dir, name, 0) < 0)
        return errno == ENOENT ? 0 : err_errno("cannot remove %s", name);
    if (fsync(dir) < 0)
        return err_errno("cannot make the removal of %s durable", name);
    return 0;
}

static int file_remove_leaf(int dir, const char *name, const struct stat *st, struct file_removed *count) {
    if (unlinkat(dir, name, 0) < 0)
        return errno == ENOENT ? 0 : err_errno("cannot remove %s", name);
    if (count) {
        count->files++;
        if (S_ISREG(st->st_mode) && st->st_nlink == 1)
            count->bytes += (uint64_t)st->st_size;
    }
    return 0;
}

/* Opens a directory inside `dir`: no link is followed and no mount entered, whatever the name becomes
 * meanwhile. A kernel or a filter without openat2(2) gets the check of file_open_to_empty() alone. */
static int file_open_inside(int dir, const char *name) {
    const struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
                                 .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV};
    long fd = syscall(SYS_openat2, dir, name, &how, sizeof how);
    return fd >= 0 || (errno != ENOSYS && errno != EPERM) ? (int)fd : openat(dir, name, (int)how.flags);
}

/* Opens a directory on `device` whose content is to go, and takes a write protection off it. */
static int file_open_to_empty(int dir, const char *name, dev_t device, int *ret_fd) {
    struct statx st;
    char self[64];
    cleanup(fd) int path = file_open_inside(dir, name);
    if (path < 0 && errno == EXDEV)
        return err_set(ERR_REFUSED, "%s lies on another file system and was left alone", name);
    if (path < 0 || statx(path, "", AT_EMPTY_PATH, STATX_MODE, &st) < 0)
        return err_errno("cannot open %s", name);
    /* A bind mount of the same file system is told by its being the root of a mount. */
    if (makedev(st.stx_dev_major, st.stx_dev_minor) != device || (st.stx_attributes & STATX_ATTR_MOUNT_ROOT))
        return err_set(ERR_REFUSED, "%s lies on another file system and was left alone", name);
    /* By descriptor, for the name could be another directory by now. */
    (void)snprintf(self, sizeof self, "/proc/self/fd/%d", path);
    if ((st.stx_mode & S_IRWXU) != S_IRWXU)
        (void)chmod(self, (st.stx_mode & 07777) | S_IRWXU);
    int fd = openat(path, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno("cannot open %s", name);
    *ret_fd = fd;
    return 0;
}

#define FILE_LEVELS 64 /* of recursion, each with a descriptor */

struct file_removal {
    dev_t device;
    bool deep;        /* what lies deeper than FILE_LEVELS is left for another pass */
    bool left;        /* something was */
    uint64_t removed; /* entries so far */
    struct file_removed *count;
};

static int file_remove_below(int dir, const char *name, int level, struct file_removal *removal);
static int file_remove_deep(int dir, const char *name, struct file_removal *removal);

/* Takes over the descriptor. NULL with err_text(). */
static DIR *file_list(int fd, const char *name) {
    DIR *stream = fdopendir(fd);
    if (!stream) {
        (void)err_errno("cannot list %s", name);
        (void)close(fd);
    }
    return stream;
}

static bool file_is_dot(const char *name) {
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static int file_empty(int fd, const char *name, int level, struct file_removal *removal) {
    DIR *stream = file_list(fd, name);
    if (!stream)
        return ERR_SYSTEM;
    int first = 0;
    struct dirent *entry;
    while ((errno = 0, entry = readdir(stream))) {
        if (file_is_dot(entry->d_name))
            continue;
        int r = file_remove_below(fd, entry->d_name, level + 1, removal);
        first = first ? first : r;
    }
    (void)closedir(stream);
    return first;
}

static int file_remove_below(int dir, const char *name, int level, struct file_removal *removal) {
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : err_errno("cannot look at %s", name);
    if (!S_ISDIR(st.st_mode)) {
        int r = file_remove_leaf(dir, name, &st, removal->count);
        removal->removed += r == 0;
        return r;
    }
    if (level > FILE_LEVELS && !removal->deep)
        return file_remove_deep(dir, name, removal);
    if (level > FILE_LEVELS) {
        removal->left = true;
        return 0;
    }
    int fd = -1, r = file_open_to_empty(dir, name, removal->device, &fd);
    if (r == 0)
        r = file_empty(fd, name, level, removal);
    if (r < 0)
        return r;
    if (unlinkat(dir, name, AT_REMOVEDIR) == 0)
        removal->removed++;
    else if (errno != ENOENT && !removal->left)
        return err_errno("cannot remove the directory %s", name);
    return 0;
}

/* The names and directories on the way down, the last FILE_LEVELS of them. */
struct file_way {
    struct file_step {
        int dir; /* owned */
        char name[NAME_MAX + 1];
    } steps[FILE_LEVELS];
    size_t first, n;
};

static void way_cleanup(struct file_way **way) {
    for (size_t i = 0; *way && i < (*way)->n; i++)
        (void)close((*way)->steps[((*way)->first + i) % FILE_LEVELS].dir);
    free(*way);
}

static void file_go(struct file_way *way, int dir, const char *name) {
    if (way->n == FILE_LEVELS) {
        (void)close(way->steps[way->first].dir);
        way->first = (way->first + 1) % FILE_LEVELS;
        way->n--;
    }
    struct file_step *step = &way->steps[(way->first + way->n++) % FILE_LEVELS];
    step->dir = dir;
    (void)snprintf(step->name, sizeof step->name, "%s", name);
}

/* The first directory in the directory `fd`, which it closes; 1: there is none. */
static int file_first_directory(int fd, const char *name, char *ret, size_t size) {
    DIR *stream = file_list(fd, name);
    if (!stream)
        return ERR_SYSTEM;
    struct dirent *entry;
    int r = 1;
    while (r == 1 && (entry = readdir(stream))) {
        struct stat st;
        if (!file_is_dot(entry->d_name) && fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISDIR(st.st_mode)) {
            (void)snprintf(ret, size, "%s", entry->d_name);
            r = 0;
        }
    }
    (void)closedir(stream);
    return r;
}

/* One pass: down along the first directories to the end, and from FILE_LEVELS above that everything. */
static int file_remove_lowest(int dir, const char *name, struct file_removal *removal) {
    cleanup(way) struct file_way *way = calloc(1, sizeof *way);
    char next[NAME_MAX + 1];
    int above = fcntl(dir, F_DUPFD_CLOEXEC, 0), fd = -1, r = 0;
    if (!way || above < 0) {
        fd_cleanup(&above);
        return err_errno("cannot remove %s", name);
    }
    (void)snprintf(next, sizeof next, "%s", name);
    for (file_go(way, above, next); r == 0;) {
        struct file_step *last = &way->steps[(way->first + way->n - 1) % FILE_LEVELS];
        r = file_open_to_empty(last->dir, last->name, removal->device, &fd);
        int look = r == 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
        if (r == 0)
            r = look < 0 ? err_errno("cannot remove %s", name)
                         : file_first_directory(look, name, next, sizeof next);
        if (r == 0)
            file_go(way, steal_fd(&fd), next);
        fd_cleanup(&fd);
        fd = -1;
    }
    struct file_step *step = &way->steps[way->first];
    return r < 0 ? r : file_remove_below(step->dir, step->name, 1, removal);
}

/* A tree has no depth limit, and nothing is moved for it: a vault whose key is gone lets nothing be moved. */
static int file_remove_deep(int dir, const char *name, struct file_removal *removal) {
    int r = 0;
    uint64_t before;
    removal->deep = true;
    do {
        before = removal->removed;
        removal->left = false;
        r = file_remove_lowest(dir, name, removal);
    } while (r == 0 && removal->removed > before && faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0);
    removal->deep = removal->left = false;
    return r;
}

int file_remove_tree(int dir, const char *name, struct file_removed *count) {
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : err_errno("cannot look at %s", name);
    struct stat parent;
    cleanup(fd) int above = -1;
    const char *slash = strrchr(name, '/');
    char path[PATH_MAX] = ".";
    if (slash)
        (void)snprintf(path, sizeof path, "%.*s", slash == name ? 1 : (int)(slash - name), name);
    above = openat(dir, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (above < 0 && (errno == ELOOP || errno == ENOTDIR))
        return err_set(ERR_REFUSED, "%s is a symbolic link and was left alone", path);
    if (above < 0 || fstat(above, &parent) < 0)
        return err_errno("cannot look at the directory of %s", name);
    struct file_removal removal = {.device = parent.st_dev, .count = count};
    int r = file_remove_below(above, slash ? slash + 1 : name, 0, &removal);
    if (r == 0 && fsync(above) < 0)
        r = err_errno("cannot make the removal of %s durable", name);
    return r;
}
