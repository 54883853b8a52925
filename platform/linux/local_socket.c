#include "platform/linux/local_socket.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* Fills `address` for `path` by way of /proc/self/fd, so that its length does not matter. */
static int local_socket_address(const char *path, struct sockaddr_un *address, int *ret_dir) {
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    if (!slash || (size_t)(slash - path) >= sizeof dir)
        return err_set(ERR_INVALID, "%s is not a usable path", path);
    (void)snprintf(dir, sizeof dir, "%.*s", (int)(slash - path), path);
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? err_set(ERR_UNREACHABLE, "%s does not exist", dir)
                               : err_errno("cannot open %s", dir);
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if ((size_t)snprintf(address->sun_path, sizeof address->sun_path, "/proc/self/fd/%d%s", fd, slash) >=
        sizeof address->sun_path) {
        (void)close(fd);
        return err_set(ERR_INVALID, "%s is too long", path);
    }
    *ret_dir = fd;
    return 0;
}

/* A socket, and the address of `path` that is good as long as `dir` is open. */
static int local_socket_make(const char *path, struct sockaddr_un *address, int *ret_dir, int *ret_fd) {
    int r = local_socket_address(path, address, ret_dir);
    if (r < 0)
        return r;
    *ret_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return *ret_fd < 0 ? err_errno("cannot make a socket") : 0;
}

int local_socket_listen(const char *path, int *ret_fd) {
    struct sockaddr_un address;
    cleanup(fd) int dir = -1, fd = -1;
    int r = local_socket_make(path, &address, &dir, &fd);
    if (r < 0)
        return r;
    /* The caller holds the lock of the state directory: a socket that is there is a dead one. */
    if (unlink(address.sun_path) < 0 && errno != ENOENT)
        return err_errno("cannot replace %s", path);
    mode_t before = umask(0177);
    int bound = bind(fd, (const struct sockaddr *)&address, sizeof address);
    (void)umask(before);
    if (bound < 0 || listen(fd, SOMAXCONN) < 0)
        return err_errno("cannot listen at %s", path);
    *ret_fd = steal_fd(&fd);
    return 0;
}

int local_socket_connect(const char *path, int *ret_fd) {
    struct sockaddr_un address;
    cleanup(fd) int dir = -1, fd = -1;
    int r = local_socket_make(path, &address, &dir, &fd);
    if (r < 0)
        return r;
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) < 0)
        return errno == ENOENT || errno == ECONNREFUSED
                   ? err_set(ERR_UNREACHABLE, "nobody listens at %s", path)
                   : err_errno("cannot connect to %s", path);
    r = local_socket_check_peer(fd);
    if (r == 0)
        *ret_fd = steal_fd(&fd);
    return r;
}

int local_socket_check_peer(int fd) {
    struct ucred peer;
    socklen_t n = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) < 0)
        return err_errno("cannot tell who is on the other side of the socket");
    if (peer.uid != geteuid() && peer.uid != 0)
        return err_set(ERR_REFUSED, "the other side of the socket is another user (uid %u)", peer.uid);
    return 0;
}
