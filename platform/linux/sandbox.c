#include "platform/linux/sandbox.h"
#include "platform/base/err.h"

#include <errno.h>
#include <linux/seccomp.h>
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
