#include "server-api/server/http/listen.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"

#include <netdb.h>
#include <stdbool.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

static int listen_resolve(const char *address, struct addrinfo **ret) {
    const char *colon = strrchr(address, ':');
    char host[256];
    bool brackets = address[0] == '[' && colon && colon > address && colon[-1] == ']';
    if (!colon || colon == address || (size_t)(colon - address) >= sizeof host)
        return err_set(ERR_USAGE, "%s is not ADDR:PORT", address);
    (void)snprintf(host, sizeof host, "%.*s", (int)(colon - address) - (brackets ? 2 : 0),
                   address + (brackets ? 1 : 0));
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE};
    int rc = getaddrinfo(host, colon + 1, &hints, ret);
    return rc == 0 && *ret
               ? 0
               : err_set(ERR_USAGE, "%s is not a numeric ADDR:PORT: %s", address, gai_strerror(rc));
}

int listen_check(const char *address) {
    struct addrinfo *found = NULL;
    int r = listen_resolve(address, &found);
    if (r == 0)
        freeaddrinfo(found);
    return r;
}

int listen_open(const char *address, int *ret_fd) {
    struct addrinfo *found = NULL;
    int r = listen_resolve(address, &found);
    if (!found)
        return r;
    cleanup(fd) int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const int on = 1;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        bind(fd, found->ai_addr, found->ai_addrlen) < 0 || listen(fd, SOMAXCONN) < 0)
        r = err_errno("cannot listen on %s", address);
    freeaddrinfo(found);
    if (r == 0)
        *ret_fd = steal_fd(&fd);
    return r;
}

unsigned listen_raise_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 1024;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        (void)getrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur > 1000000 ? 1000000 : (unsigned)limit.rlim_cur;
}
