#include "platform/base/file.h"
#include "platform/base/cleanup.h"
#include "platform/base/encode.h"
#include "platform/base/err.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
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

/* Opens a directory on `device` whose content is to go, and takes a write protection off it. */
static int file_open_to_empty(int dir, const char *name, dev_t device, int *ret_fd) {
    struct statx st;
    char self[64];
    cleanup(fd) int path = openat(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
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
    int top;     /* the tree's own directory; -1 before it was opened */
    bool lifted; /* something was moved there to be removed in another pass */
    struct file_removed *count;
};

/* A tree has no depth limit: what lies deeper than we recurse is moved up to its top, where the next pass
 * takes it. */
static int file_lift(int dir, const char *name, struct file_removal *removal) {
    char id[RANDOM_ID_SIZE];
    if (renameat(dir, name, removal->top, random_id(id)) < 0)
        return err_errno("cannot remove %s", name);
    removal->lifted = true;
    return 0;
}

static int file_remove_below(int dir, const char *name, int level, struct file_removal *removal);

static int file_empty(int fd, const char *name, int level, struct file_removal *removal) {
    DIR *stream = fdopendir(fd);
    if (!stream) {
        int r = err_errno("cannot list %s", name);
        (void)close(fd);
        return r;
    }
    if (level == 0)
        removal->top = fd;
    int first = 0;
    struct dirent *entry;
    while ((errno = 0, entry = readdir(stream))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
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
    if (!S_ISDIR(st.st_mode))
        return file_remove_leaf(dir, name, &st, removal->count);
    if (level > FILE_LEVELS)
        return file_lift(dir, name, removal);
    int fd = -1, r = file_open_to_empty(dir, name, removal->device, &fd);
    if (r == 0)
        r = file_empty(fd, name, level, removal);
    if (r < 0)
        return r;
    if (unlinkat(dir, name, AT_REMOVEDIR) < 0 && errno != ENOENT && !(removal->lifted && level == 0))
        return err_errno("cannot remove the directory %s", name);
    return 0;
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
    above = openat(dir, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (above < 0 || fstat(above, &parent) < 0)
        return err_errno("cannot look at the directory of %s", name);
    struct file_removal removal = {.device = parent.st_dev, .top = -1, .count = count};
    int r = 0;
    do {
        removal.lifted = false;
        r = file_remove_below(above, slash ? slash + 1 : name, 0, &removal);
    } while (r == 0 && removal.lifted);
    if (r == 0 && fsync(above) < 0)
        r = err_errno("cannot make the removal of %s durable", name);
    return r;
}
