#include "tests/conformance/vault_room.h"

const struct vault_driver *driver = &vault_gocryptfs;
char base[PATH_MAX / 2];
struct vault v;
struct buf key = {.secret = true};

/* Paths of the test. */
char *at(const char *name) {
    static char paths[8][PATH_MAX];
    static size_t next;
    char *path = paths[next++ % 8];
    (void)snprintf(path, sizeof paths[0], "%s/%s", base, name);
    return path;
}

void put(const char *path, const char *text) {
    cleanup(fd) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

bool has(const char *path, const char *text) {
    char got[256];
    cleanup(fd) int fd = open(path, O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, got, sizeof got);
    return n == (ssize_t)strlen(text) && memcmp(got, text, (size_t)n) == 0;
}

bool exists(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0;
}

unsigned mode_of(const char *path) {
    struct stat st;
    assert_int_equal(lstat(path, &st), 0);
    return st.st_mode & 07777;
}

bool is_open(void) {
    struct vault_status status;
    assert_int_equal(vault_describe(&v, false, &status), 0);
    return status.open;
}

size_t servers(void) {
    size_t n = 99;
    assert_int_equal(driver->count_servers(&v, &n), 0);
    return n;
}

int setup(void **state) {
    (void)state;
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(base, sizeof base, "%s/satchel vault,\xc3\xa4.XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(base))
        return -1;
    char bytes[VAULT_KEY_SIZE];
    random_bytes(bytes, sizeof bytes);
    buf_clear(&key);
    return buf_add(&key, bytes, sizeof bytes) < 0
               ? -1
               : vault_init(&v, driver, at("data/vault.enc"), at("data/vault"));
}

int teardown(void **state) {
    (void)state;
    size_t ended = 0;
    (void)vault_end_holders(&v, NULL, &ended);
    int r = vault_force_close(&v, NULL);
    vault_finish(&v);
    return r < 0 || file_remove_tree(AT_FDCWD, base, NULL) < 0 ? -1 : 0;
}

int setup_open(void **state) {
    int r = setup(state);
    if (r == 0)
        r = vault_create(&v, &key);
    return r == 0 ? vault_open(&v, &key) : r;
}

struct holder_pids start_holder(void) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    put(at("data/vault/held"), CANARY);
    struct holder_pids pids = {.parent = fork()};
    if (pids.parent == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        pids.parent = getpid();
        pids.child = fork();
        if (pids.child == 0)
            (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        while (pids.child == 0)
            (void)pause();
        int fd = open(at("data/vault/held"), O_RDONLY);
        if (fd < 0 || mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED ||
            chdir(at("data/vault")) < 0 || write(ends[1], &pids, sizeof pids) != sizeof pids)
            _exit(1);
        for (;;)
            (void)pause();
    }
    assert_int_equal(read(ends[0], &pids, sizeof pids), sizeof pids);
    (void)close(ends[0]);
    (void)close(ends[1]);
    return pids;
}

void check_gone(struct holder_pids pids) {
    (void)waitpid(pids.parent, NULL, WNOHANG);
    assert_int_equal(kill(pids.parent, 0), -1);
}

pid_t start_child(int (*hold)(const char *arg), const char *arg) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (hold(arg) != 0 || write(ends[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            (void)pause();
    }
    char c;
    assert_int_equal(read(ends[0], &c, 1), 1);
    (void)close(ends[0]);
    (void)close(ends[1]);
    return pid;
}
