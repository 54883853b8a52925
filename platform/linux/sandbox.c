#include "platform/linux/sandbox.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

const char *const sandbox_system[] = {
    /* names */
    "/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf",
    "/etc/services", "/etc/protocols", "/etc/passwd", "/run/systemd/resolve", "/run/resolvconf",
    "/run/NetworkManager", "/run/nscd",
    /* authorities */
    "/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    /* libraries and time zones */
    "/etc/ld.so.cache", "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/localtime",
    "/usr/share/zoneinfo", "/dev/urandom", "/dev/null",
#if defined(__SANITIZE_ADDRESS__) || defined(SANDBOX_SANITIZED)
    "/proc", "/usr/bin",
#endif
    NULL};

void sandbox_look(struct sandbox_state *ret) {
    int version = sandbox_landlock_version();
    uint32_t action = SECCOMP_RET_ERRNO;
    *ret = (struct sandbox_state){
        .landlock = version,
        .files = version >= 2,
        .ports = version >= 4,
        .outside = version >= 6,
        .calls = syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0,
    };
}

int sandbox_enter(const struct sandbox *s, struct sandbox_state *ret) {
    struct sandbox_state state = {0};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return err_errno("cannot confine this process");
    int r = sandbox_files(s, &state);
    if (r == 0)
        r = sandbox_calls();
    if (r < 0)
        return r;
    state.calls = true;
    if (ret)
        *ret = state;
    return 0;
}

static long number_behind(const char *text, const char *word) {
    const char *p = text ? strstr(text, word) : NULL;
    return p ? strtol(p + strlen(word), NULL, 10) : -1;
}

int sandbox_see(pid_t pid, struct sandbox_seen *ret) {
    char path[64];
    cleanup(buf) struct buf status = {0}, limits = {0};
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    int r = file_read(AT_FDCWD, path, 65536, &status);
    (void)snprintf(path, sizeof path, "/proc/%d/limits", (int)pid);
    if (r == 0)
        r = file_read(AT_FDCWD, path, 65536, &limits);
    if (r < 0)
        return 1;
    *ret = (struct sandbox_seen){
        .no_new_privileges = number_behind(status.data, "NoNewPrivs:") == 1,
        .calls = number_behind(status.data, "Seccomp:") == SECCOMP_MODE_FILTER,
        .no_core = number_behind(limits.data, "Max core file size") == 0,
    };
    return 0;
}
