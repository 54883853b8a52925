#include "agent/mail/sync/beneath.h"
#include "agent/mail/sync/name.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int beneath_open(int root, const char *path) {
    struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV};
    return (int)syscall(SYS_openat2, root, path, &how, sizeof how);
}

int beneath_error(void) {
    if (errno == ENOTDIR || errno == ELOOP || errno == EXDEV)
        return err_set(ERR_INVALID, "something that is no mail folder is in its place");
    return err_errno("cannot open a mail folder");
}

/* The first `length` bytes of the path. */
static int make(int root, const char *path, size_t length, int *ret) {
    char part[NAME_PATH_MAX + 1];
    cleanup(fd) int parent = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0)
        return beneath_error();
    for (const char *at = path; at < path + length;) {
        size_t n = (size_t)(strchrnul(at, '/') - at);
        if (n >= sizeof part)
            return err_set(ERR_TOO_LARGE, "a folder's name is too long");
        memcpy(part, at, n);
        part[n] = '\0';
        if (mkdirat(parent, part, 0700) != 0 && errno != EEXIST)
            return err_errno("cannot make a mail folder");
        int child = beneath_open(parent, part);
        if (child < 0)
            return beneath_error();
        (void)close(parent);
        parent = child;
        at += n + (at[n] == '/');
    }
    *ret = steal_fd(&parent);
    return 0;
}

int beneath_make(int root, const char *path, int *ret) {
    return make(root, path, strlen(path), ret);
}

int beneath_parent(int root, const char *path, int *ret, const char **ret_name) {
    const char *slash = strrchr(path, '/');
    int r = make(root, path, slash ? (size_t)(slash - path) : 0, ret);
    if (r == 0)
        *ret_name = slash ? slash + 1 : path;
    return r;
}
