/* What a confined process cannot do, each tried in a child of its own; and what it must be able to do all the
 * same. */
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/base/file.h"
#include "platform/linux/sandbox.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

static char base[] = "/tmp/satchel-sandbox.XXXXXX";
static char vault[64], beside[64];
static struct sandbox_state kernel;
static int listener;
static uint16_t port;

static const char *at(const char *name) {
    static char paths[4][PATH_MAX];
    static unsigned next;
    char *path = paths[next++ % 4];
    (void)snprintf(path, sizeof paths[0], "%s/%s", base, name);
    return path;
}

/* Runs `fn` in a confined child: 0, or the errno it ended with, or 200 + signal. */
static int confined(int (*fn)(void)) {
    pid_t pid = fork();
    if (pid == 0) {
        const struct sandbox s = {.list = beside, .write = vault, .ports = {port}};
        struct sandbox_state state = {0};
        if (sandbox_enter(&s, &state) < 0 || !state.calls || state.files != kernel.files)
            _exit(199);
        errno = 0;
        _exit(fn() == 0 ? 0 : errno);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? 200 + WTERMSIG(status) : WEXITSTATUS(status);
}

static int open_and_close(const char *path, int flags) {
    int fd = open(path, flags, 0600);
    return fd < 0 ? -1 : close(fd);
}

/* Files. */

static int read_personal_file(void) {
    return open_and_close(at("home/diary"), O_RDONLY);
}

static int write_personal_file(void) {
    return open_and_close(at("home/diary"), O_WRONLY);
}

static int cut_personal_file(void) {
    return truncate(at("home/diary"), 0);
}

static int make_file_outside(void) {
    return open_and_close(at("home/new"), O_WRONLY | O_CREAT);
}

static int list_home(void) {
    return open_and_close(at("home"), O_RDONLY | O_DIRECTORY);
}

static int read_beside(void) {
    return open_and_close(at("data/key"), O_RDONLY);
}

static int through_a_link(void) {
    return open_and_close(at("data/vault/link"), O_RDONLY);
}

static int move_out(void) {
    return rename(at("data/vault/letter"), at("home/letter"));
}

static int link_in(void) {
    return link(at("home/diary"), at("data/vault/diary"));
}

static int remove_outside(void) {
    return unlink(at("home/diary"));
}

static int read_users_config(void) {
    return open_and_close("/root/.bashrc", O_RDONLY) == 0 || errno == EACCES ? (errno = EACCES, -1) : -1;
}

static void test_files_outside(void **state) {
    (void)state;
    if (!kernel.files)
        skip();
    static int (*const tries[])(void) = {read_personal_file, write_personal_file, cut_personal_file,
                                         make_file_outside,  list_home,           read_beside,
                                         through_a_link,     remove_outside,      read_users_config};
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++)
        assert_int_equal(confined(tries[i]), tries[i] == cut_personal_file ? EPERM : EACCES);
    assert_true(confined(move_out) != 0 && confined(link_in) != 0);
    struct stat st;
    assert_int_equal(stat(at("home/diary"), &st), 0);
    assert_int_equal(st.st_size, 8);
}

static int work_inside(void) {
    int dir = open(vault, O_RDONLY | O_DIRECTORY);
    if (dir < 0 || mkdirat(dir, "tmp", 0700) < 0 || mkdirat(dir, "cur", 0700) < 0 ||
        file_write_atomic(dir, "tmp/1", "letter", 6, 0600) < 0 || renameat(dir, "tmp/1", dir, "cur/1") < 0 ||
        unlinkat(dir, "cur/1", 0) < 0 || unlinkat(dir, "cur", AT_REMOVEDIR) < 0 ||
        unlinkat(dir, "tmp", AT_REMOVEDIR) < 0)
        return -1;
    int notify = inotify_init1(IN_CLOEXEC);
    if (notify < 0 || inotify_add_watch(notify, vault, IN_CREATE) < 0)
        return -1;
    int above = openat(dir, "..", O_RDONLY | O_DIRECTORY);
    return above < 0 ? -1 : syncfs(above);
}

static int read_system(void) {
    return open_and_close("/etc/hosts", O_RDONLY);
}

static void test_files_inside(void **state) {
    (void)state;
    assert_int_equal(confined(work_inside), 0);
    assert_int_equal(confined(read_system), 0);
}

/* Programs and processes. */

static int execute(void) {
    static char *const argv[] = {(char *)(uintptr_t) "true", NULL};
    return execv("/bin/true", argv);
}

static int execute_at(void) {
    static char *const argv[] = {(char *)(uintptr_t) "true", NULL};
    int fd = open("/bin/true", O_PATH);
    return fexecve(fd, argv, argv + 1);
}

static int look_into_the_parent(void) {
    return ptrace(PTRACE_SEIZE, getppid(), 0, 0) == 0 ? 0 : -1;
}

static int signal_the_parent(void) {
    return kill(getppid(), 0);
}

static int make_process(void) {
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    return pid > 0 ? 0 : -1;
}

static void test_processes(void **state) {
    (void)state;
    assert_int_equal(confined(execute), EPERM);
#ifndef SANDBOX_SANITIZED
    static int (*const tries[])(void) = {look_into_the_parent, signal_the_parent, make_process};
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++)
        assert_int_equal(confined(tries[i]), EPERM);
#else
    (void)look_into_the_parent, (void)make_process;
    assert_int_equal(confined(signal_the_parent), EPERM); /* by Landlock */
#endif
    assert_true(confined(execute_at) == EPERM || confined(execute_at) == ENOSYS ||
                confined(execute_at) == ENOENT);
}

static void *thread_main(void *arg) {
    return arg;
}

static int make_thread(void) {
    pthread_t thread;
    void *ret = NULL;
    errno = pthread_create(&thread, NULL, thread_main, base);
    return errno == 0 && pthread_join(thread, &ret) == 0 && ret == base ? 0 : -1;
}

static int end_by_abort(void) {
    (void)signal(SIGABRT, SIG_DFL);
    abort();
}

static void test_threads(void **state) {
    (void)state;
    assert_int_equal(confined(make_thread), 0);
    assert_int_equal(confined(end_by_abort), 200 + SIGABRT);
}

/* The network. */

static int connect_to(uint16_t to) {
    const struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(to), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd < 0 ? -1 : connect(fd, (const struct sockaddr *)&a, sizeof a);
}

static int connect_to_the_server(void) {
    return connect_to(port);
}

static int connect_elsewhere(void) {
    return connect_to((uint16_t)(port ^ 1));
}

static int make_netlink(void) {
    return socket(AF_NETLINK, SOCK_RAW, 0) < 0 ? -1 : 0;
}

static int listen_anywhere(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd < 0 ? -1 : listen(fd, 1);
}

static int resolve(void) {
    struct addrinfo *found = NULL;
    int r = getaddrinfo("localhost", "imaps", NULL, &found);
    if (r == 0)
        freeaddrinfo(found);
    return r;
}

static void test_network(void **state) {
    (void)state;
    assert_int_equal(confined(connect_to_the_server), 0);
    assert_int_equal(confined(connect_elsewhere), kernel.ports ? EACCES : ECONNREFUSED);
    assert_int_equal(confined(make_netlink), EPERM);
    assert_int_equal(confined(listen_anywhere), EPERM);
    assert_int_equal(confined(resolve), 0);
}

static void make_dir(const char *path) {
    cleanup(fd) int fd = -1;
    assert_int_equal(file_make_dirs(path, 0700, &fd), 0);
}

static int setup(void **state) {
    (void)state;
    sandbox_look(&kernel);
    if (!mkdtemp(base))
        return -1;
    (void)snprintf(beside, sizeof beside, "%s/data", base);
    (void)snprintf(vault, sizeof vault, "%s/data/vault", base);
    make_dir(at("home"));
    make_dir(vault);
    assert_int_equal(file_write_atomic(AT_FDCWD, at("home/diary"), "personal", 8, 0600), 0);
    assert_int_equal(file_write_atomic(AT_FDCWD, at("data/key"), "key", 3, 0600), 0);
    assert_int_equal(file_write_atomic(AT_FDCWD, at("data/vault/letter"), "letter", 6, 0600), 0);
    assert_int_equal(symlink(at("home/diary"), at("data/vault/link")), 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&a, n) < 0 || listen(listener, 8) < 0 ||
        getsockname(listener, (struct sockaddr *)&a, &n) < 0)
        return -1;
    port = ntohs(a.sin_port);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    (void)close(listener);
    return file_remove_tree(AT_FDCWD, base, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files_outside), cmocka_unit_test(test_files_inside),
        cmocka_unit_test(test_processes),     cmocka_unit_test(test_threads),
        cmocka_unit_test(test_network),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
