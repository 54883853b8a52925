/* seccomp: the system calls that a program needs which talks to the network, keeps files and runs threads.
 * Everything else fails with EPERM, so that the C library can do without; nothing can be executed, and no
 * process looked into. */
#include "platform/base/err.h"
#include "platform/linux/sandbox.h"

#include <errno.h>
#include <linux/fscrypt.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(SANDBOX_SANITIZED)
#define SANITIZED true
#else
#define SANITIZED false
#endif

#define ALL UINT32_MAX /* these arguments are ints; the kernel looks at no more of them */

static const char *const allowed[] = {
    /* descriptors */
    "read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "preadv2", "pwritev2",
    "lseek", "_llseek", "close", "close_range", "dup", "dup2", "dup3", "fcntl", "fcntl64", "sendfile", "pipe",
    "pipe2", "eventfd2", "poll", "ppoll", "ppoll_time64", "select", "_newselect", "pselect6", "epoll_create1",
    "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "timerfd_create", "timerfd_settime",
    "inotify_init1", "inotify_add_watch", "inotify_rm_watch",
    /* files */
    "open", "openat", "openat2", "stat", "lstat", "fstat", "newfstatat", "fstatat64", "statx", "statfs",
    "fstatfs", "fstatfs64", "statfs64", "access", "faccessat", "faccessat2", "getdents64", "readlink",
    "readlinkat", "rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir",
    "link", "linkat", "chmod", "fchmod", "fchmodat", "fchown", "utimensat", "ftruncate", "fallocate", "fsync",
    "fdatasync", "sync_file_range", "syncfs", "flock", "fadvise64", "copy_file_range", "getcwd", "umask",
    /* the network; which families, below */
    "connect", "sendto", "sendmsg", "sendmmsg", "recvfrom", "recvmsg", "recvmmsg", "shutdown", "getsockname",
    "getpeername", "getsockopt", "setsockopt",
    /* memory, threads, signals, time */
    "mmap", "mmap2", "munmap", "mprotect", "mremap", "madvise", "msync", "mlock", "munlock", "brk", "futex",
    "futex_time64", "set_robust_list", "get_robust_list", "rseq", "set_tid_address", "exit", "exit_group",
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigtimedwait", "sigaltstack", "restart_syscall",
    "nanosleep", "clock_nanosleep", "clock_gettime", "clock_getres", "gettimeofday", "time", "times",
    "sched_yield", "sched_getaffinity", "membarrier", "getcpu", "getrandom",
    /* who and what we are */
    "getpid", "gettid", "getppid", "getuid", "geteuid", "getgid", "getegid", "getresuid", "getresgid",
    "getgroups", "getpgrp", "getrlimit", "ugetrlimit", "getrusage", "sysinfo", "uname"};

/* A sanitizer looks at its own process from a second one when it looks for leaks. */
static const char *const allowed_to_sanitizers[] = {"getdents", "tkill",  "waitid",    "clone",
                                                    "clone3",   "ptrace", "prctl",     "wait4",
                                                    "tgkill",   "kill",   "setrlimit", "prlimit64"};

static int allow_all(scmp_filter_ctx ctx, const char *const *names, size_t n) {
    int r = 0;
    for (size_t i = 0; i < n && r == 0; i++) {
        int call = seccomp_syscall_resolve_name(names[i]);
        if (call != __NR_SCMP_ERROR && call >= 0) /* below 0: not of this architecture */
            r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, call, 0);
    }
    return r;
}

/* Where argument number `arg`, of which the bits `mask` count, is `value`. */
static int allow_when(scmp_filter_ctx ctx, int call, unsigned arg, scmp_datum_t mask, scmp_datum_t value) {
    const struct scmp_arg_cmp when = {
        .arg = arg, .op = SCMP_CMP_MASKED_EQ, .datum_a = mask, .datum_b = value};
    return seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, call, 1, &when);
}

static int allow_sockets(scmp_filter_ctx ctx) {
    static const int families[] = {AF_INET, AF_INET6, AF_UNIX};
    int r = allow_when(ctx, SCMP_SYS(socketpair), 0, ALL, AF_UNIX);
    for (size_t i = 0; i < sizeof families / sizeof *families && r == 0; i++)
        r = allow_when(ctx, SCMP_SYS(socket), 0, ALL, (scmp_datum_t)families[i]);
    return r;
}

static int allow_ioctls(scmp_filter_ctx ctx) {
    static const unsigned long requests[] = {FIONREAD, FIONBIO, TCGETS, FS_IOC_GET_ENCRYPTION_POLICY_EX,
                                             FS_IOC_GET_ENCRYPTION_KEY_STATUS};
    int r = 0;
    for (size_t i = 0; i < sizeof requests / sizeof *requests && r == 0; i++)
        r = allow_when(ctx, SCMP_SYS(ioctl), 1, ALL, (scmp_datum_t)requests[i]);
    return r;
}

/* Threads, no processes. clone3(2) has its flags in memory, where a filter cannot look: without it the C
 * library uses clone(2). */
static int allow_threads(scmp_filter_ctx ctx) {
    const scmp_datum_t thread = CLONE_VM | CLONE_THREAD | CLONE_SIGHAND;
    int r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    if (r == 0)
        r = allow_when(ctx, SCMP_SYS(clone), 0, thread, thread);
    return r;
}

/* For abort(3), thread names and reading limits: of this process alone. */
static int allow_self(scmp_filter_ctx ctx) {
    int r = allow_when(ctx, SCMP_SYS(tgkill), 0, ALL, (scmp_datum_t)getpid());
    if (r == 0)
        r = allow_when(ctx, SCMP_SYS(prctl), 0, ALL, PR_SET_NAME);
    if (r == 0)
        r = allow_when(ctx, SCMP_SYS(prlimit64), 2, UINT64_MAX, 0);
    return r;
}

static int add_rules(scmp_filter_ctx ctx) {
    int r = allow_all(ctx, allowed, sizeof allowed / sizeof *allowed);
    if (r == 0)
        r = allow_sockets(ctx);
    if (r == 0)
        r = allow_ioctls(ctx);
    if (r == 0 && SANITIZED)
        return allow_all(ctx, allowed_to_sanitizers,
                         sizeof allowed_to_sanitizers / sizeof *allowed_to_sanitizers);
    if (r == 0)
        r = allow_threads(ctx);
    return r < 0 ? r : allow_self(ctx);
}

int sandbox_calls(void) {
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int r = ctx ? seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1) : -ENOMEM;
    if (r == 0)
        r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree: the filter runs at every call */
    if (r == 0)
        r = add_rules(ctx);
    if (r == 0)
        r = seccomp_load(ctx);
    if (ctx)
        seccomp_release(ctx);
    errno = -r;
    return r < 0 ? err_errno("cannot confine the system calls of this process") : 0;
}
