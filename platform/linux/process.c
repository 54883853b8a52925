#include "platform/linux/process.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

#define PROCESS_FIND_MAX 65536

void process_finish(struct process *p) {
    if (p->pid > 0 && p->pidfd >= 0)
        (void)close(p->pidfd);
    *p = PROCESS_NONE;
}

/* From here to child_exec(): the child between fork and exec. System calls only, no memory, no locks. */

struct child {
    const struct process_spawn *how;
    int sources[PROCESS_FD_MAX]; /* what becomes descriptor i, or -1 */
    int status;                  /* errno goes here when exec fails */
    pid_t parent;
    int open_max;
    char *const *argv;
    char *const *env;
};

static void child_fail(const struct child *c) {
    int code = errno;
    ssize_t n = write(c->status, &code, sizeof code);
    _exit(n == sizeof code ? 127 : 126);
}

static void child_reset_signals(void) {
    struct sigaction sa = {.sa_handler = SIG_DFL};
    for (int sig = 1; sig < NSIG; sig++)
        (void)sigaction(sig, &sa, NULL);
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static void child_map_descriptors(struct child *c) {
    for (int i = 0; i < PROCESS_FD_MAX; i++)
        if (c->sources[i] >= 0 && (c->sources[i] = fcntl(c->sources[i], F_DUPFD_CLOEXEC, PROCESS_FD_MAX)) < 0)
            child_fail(c);
    if ((c->status = fcntl(c->status, F_DUPFD_CLOEXEC, PROCESS_FD_MAX)) < 0)
        _exit(126);
    /* An old kernel, or a filter that does not know the call, gets the slow way. */
    if (close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
        for (int fd = 3; fd < c->open_max; fd++)
            (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    for (int i = 0; i < PROCESS_FD_MAX; i++)
        if (c->sources[i] >= 0 && dup2(c->sources[i], i) < 0)
            child_fail(c);
}

static void child_exec(struct child *c) {
    child_map_descriptors(c);
    if (c->how->new_session && setsid() < 0)
        child_fail(c);
    struct rlimit none = {0, 0};
    if (c->how->no_core && setrlimit(RLIMIT_CORE, &none) < 0)
        child_fail(c);
    if (c->how->die_with_parent &&
        (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || (getppid() != c->parent && (errno = ESRCH))))
        child_fail(c);
    child_reset_signals();
    (void)execve(c->how->path, c->argv, c->env);
    child_fail(c);
}

/* Signal handlers of this process must not run in the child: everything is blocked around the fork. */
static pid_t fork_quietly(void) {
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    if (pid != 0) {
        int saved = errno;
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
        errno = saved;
    }
    return pid;
}

static int adopt_child(pid_t pid, struct process *ret) {
    int pidfd = pidfd_open(pid, 0);
    if (pidfd < 0) {
        int r = err_errno("cannot watch a process");
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
        return r;
    }
    *ret = (struct process){.pid = pid, .pidfd = pidfd, .is_ours = true};
    return 0;
}

static int make_input(const struct process_spawn *how, int *ret_fd) {
    if (how->input_len > PROCESS_INPUT_MAX)
        return err_set(ERR_TOO_LARGE, "the input of %s is too large", how->path);
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_errno("cannot start %s", how->path);
    ssize_t n = how->input_len ? write(ends[1], how->input, how->input_len) : 0;
    (void)close(ends[1]);
    if (n != (ssize_t)how->input_len) {
        (void)close(ends[0]);
        return err_set(ERR_SYSTEM, "cannot hand its input to %s", how->path);
    }
    *ret_fd = ends[0];
    return 0;
}

/* Which descriptor of ours becomes which of the child. */
static int plan_descriptors(const struct process_spawn *how, int null, int input, int *sources) {
    for (int i = 0; i < PROCESS_FD_MAX; i++)
        sources[i] = i < 3 ? null : -1;
    if (input >= 0)
        sources[0] = input;
    for (size_t i = 0; i < how->n_fds; i++) {
        if (how->fds[i].to < 0 || how->fds[i].to >= PROCESS_FD_MAX || how->fds[i].from < 0)
            return err_set(ERR_INVALID, "descriptor %d cannot be given to %s", how->fds[i].to, how->path);
        sources[how->fds[i].to] = how->fds[i].from;
    }
    return 0;
}

int process_spawn(const struct process_spawn *how, struct process *ret) {
    cleanup(fd) int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0)
        return err_errno("cannot open /dev/null");
    cleanup(fd) int input = -1;
    int r = how->input ? make_input(how, &input) : 0;
    /* execve(2) wants pointers to non-const strings and does not write to them. */
    struct child c = {.how = how, .parent = getpid(), .open_max = (int)sysconf(_SC_OPEN_MAX)};
    c.argv = (char *const *)(uintptr_t)how->argv;
    c.env = how->env ? (char *const *)(uintptr_t)how->env : environ;
    if (c.open_max < 0 || c.open_max > PROCESS_FIND_MAX)
        c.open_max = PROCESS_FIND_MAX;
    if (r == 0)
        r = plan_descriptors(how, null, input, c.sources);
    if (r < 0)
        return r;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_errno("cannot start %s", how->path);
    cleanup(fd) int status = ends[0];
    c.status = ends[1];
    pid_t pid = fork_quietly();
    if (pid == 0)
        child_exec(&c);
    (void)close(ends[1]);
    if (pid < 0)
        return err_errno("cannot start %s", how->path);
    struct process child = PROCESS_NONE;
    r = adopt_child(pid, &child);
    if (r < 0)
        return r;
    int code = 0;
    ssize_t n;
    do
        n = read(status, &code, sizeof code);
    while (n < 0 && errno == EINTR);
    if (n == sizeof code) {
        (void)process_wait(&child, INT64_MAX, NULL);
        errno = code;
        return err_errno("cannot execute %s", how->path);
    }
    *ret = child;
    return 0;
}

int process_begin(int (*fn)(const void *arg), const void *arg, struct process *ret) {
    pid_t pid = fork_quietly();
    if (pid == 0) {
        /* It may hang in the kernel for longer than we live: it must hold nothing of ours, a lock least of
         * all. */
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)close_range(3, ~0U, 0);
        child_reset_signals();
        _exit(fn(arg) & 127);
    }
    return pid < 0 ? err_errno("cannot fork") : adopt_child(pid, ret);
}

int process_probe(int (*fn)(const void *arg), const void *arg, int64_t deadline, int *ret_result) {
    cleanup(process) struct process child = PROCESS_NONE;
    int status = 0;
    int r = process_begin(fn, arg, &child);
    if (r == 0)
        r = process_wait(&child, deadline, &status);
    if (r == ERR_TIMEOUT) {
        /* A moment to reap it; where it hangs in the kernel it is left to init. */
        (void)process_kill(&child, clock_boot_ms() + 500);
        return err_set(ERR_TIMEOUT, "the file system does not answer");
    }
    if (r == 0)
        *ret_result = status;
    return r;
}

int process_wait(struct process *p, int64_t deadline, int *ret_status) {
    struct pollfd pfd = {.fd = p->pidfd, .events = POLLIN};
    for (;;) {
        int n = poll(&pfd, 1, clock_left(deadline));
        if (n > 0)
            break;
        if (n < 0 && errno != EINTR)
            return err_errno("cannot wait for process %d", (int)p->pid);
        if (clock_boot_ms() >= deadline)
            return err_set(ERR_TIMEOUT, "process %d does not end", (int)p->pid);
    }
    int status = -1;
    siginfo_t info = {0};
    if (p->is_ours && waitid((idtype_t)P_PIDFD, (id_t)p->pidfd, &info, WEXITED | WNOHANG) == 0 && info.si_pid)
        status = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
    if (ret_status)
        *ret_status = status;
    process_finish(p);
    return 0;
}

int process_signal(struct process *p, int sig) {
    if (p->pid <= 0)
        return 0;
    if (pidfd_send_signal(p->pidfd, sig, NULL, 0) < 0 && errno != ESRCH)
        return err_errno("cannot signal process %d", (int)p->pid);
    return 0;
}

int process_kill(struct process *p, int64_t deadline) {
    if (p->pid <= 0)
        return 0;
    int r = process_signal(p, SIGKILL);
    return r < 0 ? r : process_wait(p, deadline, NULL);
}

void process_ids_finish(struct process_ids *ids) {
    free(ids->list);
    *ids = (struct process_ids){0};
}

/* A small file of /proc/PID, followed by NUL. 1: the process is gone, or it is not ours to read. */
static int read_proc(int dir, const char *name, size_t max, struct buf *ret) {
    cleanup(fd) int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 1;
    char chunk[4096];
    size_t total = 0;
    for (;;) {
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return 1;
        if (n == 0 || total + (size_t)n > max)
            return buf_add(ret, "", 1);
        total += (size_t)n;
        int r = buf_add(ret, chunk, (size_t)n);
        if (r < 0)
            return r;
    }
}

/* /proc/PID/stat: "PID (name) S ppid ... starttime ...", where the name may hold anything. */
static bool parse_stat(const char *text, struct process_info *ret) {
    const char *open = strchr(text, '('), *shut = strrchr(text, ')');
    char state;
    int parent;
    unsigned long long start;
    if (!open || !shut || shut < open ||
        sscanf(
            shut + 1,
            " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", /* 3 to 22 */
            &state, &parent, &start) != 3 ||
        state == 'Z' || state == 'X')
        return false;
    ret->parent = parent;
    ret->id.start_time = start;
    size_t n = 0;
    for (const char *p = open + 1; p < shut && n + 1 < sizeof ret->name; p++)
        ret->name[n++] = isprint((unsigned char)*p) ? *p : '?';
    ret->name[n] = '\0';
    return true;
}

static bool parse_uid(const char *status, uid_t *ret) {
    const char *line = strstr(status, "\nUid:");
    unsigned real, effective;
    if (!line || sscanf(line, "\nUid: %u %u", &real, &effective) != 2)
        return false;
    *ret = effective;
    return true;
}

int process_read(pid_t pid, struct buf *text, struct process_info *ret) {
    struct process_info info = {.id.pid = pid};
    char path[32], exe[PATH_MAX];
    (void)snprintf(path, sizeof path, "/proc/%d", (int)pid);
    cleanup(fd) int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return 1;
    buf_clear(text);
    int r = read_proc(dir, "stat", 4096, text);
    if (r == 0 && !parse_stat(text->data, &info))
        r = 1;
    buf_clear(text);
    if (r == 0)
        r = read_proc(dir, "status", 16384, text);
    if (r == 0 && !parse_uid(text->data, &info.uid))
        r = 1;
    buf_clear(text);
    if (r != 0)
        return r;
    ssize_t n = readlinkat(dir, "exe", exe, sizeof exe - 1);
    size_t exe_len = n > 0 ? (size_t)n : 0;
    exe[exe_len] = '\0';
    r = buf_add(text, exe, exe_len + 1);
    if (r == 0)
        r = read_proc(dir, "cmdline", 65536, text);
    if (r != 0)
        return r;
    info.exe = text->data;
    info.cmdline = text->data + exe_len + 1;
    info.cmdline_len = text->len - exe_len - 2;
    *ret = info;
    return 0;
}

static int add_id(struct process_ids *ids, struct process_id id) {
    if (ids->n >= PROCESS_FIND_MAX)
        return err_set(ERR_TOO_LARGE, "there are too many processes");
    struct process_id *list = reallocarray(ids->list, ids->n + 1, sizeof *list);
    if (!list)
        return err_errno("cannot list processes");
    list[ids->n++] = id;
    ids->list = list;
    return 0;
}

static void stream_dir_cleanup(DIR **d) {
    if (*d)
        (void)closedir(*d);
}

int process_find(bool (*match)(const struct process_info *info, void *userdata), void *userdata,
                 struct process_ids *ret) {
    cleanup(stream_dir) DIR *proc = opendir("/proc");
    if (!proc)
        return err_errno("cannot list processes");
    cleanup(process_ids) struct process_ids found = {0};
    cleanup(buf) struct buf text = {0};
    uid_t uid = geteuid();
    struct dirent *entry;
    while ((errno = 0, entry = readdir(proc))) {
        if (!isdigit((unsigned char)entry->d_name[0]))
            continue;
        struct process_info info;
        int r = process_read((pid_t)strtol(entry->d_name, NULL, 10), &text, &info);
        if (r == 0 && info.uid == uid && match(&info, userdata))
            r = add_id(&found, info.id);
        if (r < 0)
            return r;
    }
    *ret = found;
    found = (struct process_ids){0};
    return 0;
}

int process_open(struct process_id id, struct process *ret) {
    struct process p = {.pid = id.pid, .pidfd = pidfd_open(id.pid, 0)};
    if (p.pidfd < 0)
        return errno == ESRCH ? 1 : err_errno("cannot open process %d", (int)id.pid);
    cleanup(buf) struct buf text = {0};
    struct process_info info;
    /* The descriptor is of whoever has the number now: look who that is. */
    int r = process_read(id.pid, &text, &info);
    if (r == 0 && info.id.start_time != id.start_time)
        r = 1;
    if (r != 0) {
        process_finish(&p);
        return r;
    }
    /* Found again by its number, it may still be our own child and then has to be reaped. */
    p.is_ours = info.parent == getpid();
    *ret = p;
    return 0;
}

bool process_has_argument(const struct process_info *info, const char *text) {
    const char *p = info->cmdline, *end = p + info->cmdline_len;
    for (; p < end; p += strlen(p) + 1)
        if (strcmp(p, text) == 0)
            return true;
    return false;
}

int process_find_program(const char *name, char **ret) {
    const char *path = getenv("PATH");
    if (!path || !*path)
        path = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";
    while (*path) {
        size_t n = strcspn(path, ":");
        char candidate[PATH_MAX];
        struct stat st;
        if (n && path[0] == '/' &&
            (size_t)snprintf(candidate, sizeof candidate, "%.*s/%s", (int)n, path, name) < sizeof candidate &&
            stat(candidate, &st) == 0 && S_ISREG(st.st_mode) && access(candidate, X_OK) == 0) {
            char *copy = strdup(candidate);
            if (!copy)
                return err_errno("cannot look for %s", name);
            *ret = copy;
            return 0;
        }
        path += n + (path[n] == ':');
    }
    return err_set(ERR_NOT_FOUND, "the program %s is not installed", name);
}
