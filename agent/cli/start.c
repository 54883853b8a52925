#include "agent/cli/start.h"
#include "platform/base/buf.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/linux/local_socket.h"
#include "platform/linux/process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define START_MS 20000
#define START_LOG "satcheld.log"
#define START_LOG_MAX (1 << 20)
#define START_READY_FD 3

/* True when systemd --user knows the unit and has started it; Type=notify, so it listens when the call is
 * back. */
static bool start_by_systemd(void) {
    char private[PATH_MAX];
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    if (!runtime ||
        (size_t)snprintf(private, sizeof private, "%s/systemd/private", runtime) >= sizeof private ||
        access(private, F_OK) < 0)
        return false;
    cleanup(free) char *systemctl = NULL;
    if (process_find_program("systemctl", &systemctl) < 0)
        return false;
    const char *const argv[] = {"systemctl", "--user", "--quiet", "start", "satcheld.service", NULL};
    cleanup(process) struct process process = PROCESS_NONE;
    int status = 1;
    if (process_spawn(&(struct process_spawn){.path = systemctl, .argv = argv}, &process) < 0 ||
        process_wait(&process, clock_boot_ms() + START_MS, &status) < 0)
        return false;
    return status == 0;
}

/* satcheld beside this program, else in $PATH. The caller frees it. */
static int start_find(char **ret) {
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - sizeof "satcheld");
    char *slash = n > 0 ? memrchr(path, '/', (size_t)n) : NULL;
    if (slash) {
        memcpy(slash + 1, "satcheld", sizeof "satcheld");
        if (access(path, X_OK) == 0) {
            *ret = strdup(path);
            return *ret ? 0 : err_errno("cannot allocate");
        }
    }
    return process_find_program("satcheld", ret);
}

static int start_open_log(const struct paths *paths) {
    cleanup(fd) int dir = -1;
    if (paths_make(paths, &dir) < 0)
        return -1;
    int fd = openat(dir, START_LOG, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
    struct stat st;
    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > START_LOG_MAX && ftruncate(fd, 0) < 0)
        err_set(ERR_SYSTEM, "cannot shorten the log");
    return fd;
}

/* satcheld writes "ready", "running" where another one is, or why it cannot, and closes the pipe.
 * ERR_WRONG_STATE: another one is. */
static int start_wait(int fd) {
    cleanup(buf) struct buf text = {.max = 4096};
    int64_t deadline = clock_boot_ms() + START_MS;
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        char chunk[512];
        if (poll(&p, 1, clock_left(deadline)) == 0)
            return err_set(ERR_UNREACHABLE,
                           "satcheld does not get ready; see satcheld.log in the state directory");
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n > 0 && buf_add(&text, chunk, (size_t)n) < 0)
            return ERR_UNREACHABLE;
        if (n == 0 || (n < 0 && errno != EINTR))
            break;
    }
    if (text.len && strcmp(text.data, "ready\n") == 0)
        return 0;
    if (text.len && text.data[text.len - 1] == '\n')
        text.data[text.len - 1] = '\0';
    const char *why = text.len ? text.data : "it ended at once";
    return strcmp(why, "running") == 0 ? err_set(ERR_WRONG_STATE, "satcheld is already running")
                                       : err_set(ERR_UNREACHABLE, "satcheld cannot start: %s", why);
}

static int start_by_hand(const struct paths *paths) {
    cleanup(free) char *program = NULL;
    int r = start_find(&program);
    if (r < 0)
        return r;
    int pair[2];
    if (pipe2(pair, O_CLOEXEC) < 0)
        return err_errno("cannot make a pipe");
    cleanup(fd) int reader = pair[0], writer = pair[1], log = start_open_log(paths);
    const char *const argv[] = {"satcheld", "--ready-fd=3", NULL};
    const struct process_fd fds[] = {{writer, START_READY_FD}, {log, 1}, {log, 2}};
    cleanup(process) struct process process = PROCESS_NONE;
    r = process_spawn(&(struct process_spawn){.path = program,
                                              .argv = argv,
                                              .fds = fds,
                                              .n_fds = log >= 0 ? 3 : 1,
                                              .new_session = true,
                                              .no_core = true},
                      &process);
    if (r < 0)
        return r;
    (void)close(steal_fd(&writer));
    return start_wait(reader);
}

/* Of several that are started at the same time one gets the lock; the others' callers wait for that one to
 * listen. */
int start_agent(const struct paths *paths, int *ret_fd) {
    int r = start_by_systemd() ? 0 : start_by_hand(paths);
    if (r < 0 && r != ERR_WRONG_STATE)
        return r;
    int64_t deadline = clock_boot_ms() + START_MS;
    for (;;) {
        r = local_socket_connect(paths->control, ret_fd);
        if (r != ERR_UNREACHABLE || clock_left(deadline) == 0)
            return r;
        (void)poll(NULL, 0, 20);
    }
}
