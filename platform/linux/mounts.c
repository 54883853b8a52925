#include "platform/linux/mounts.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/linux/process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>

#define MOUNTS_MAX ((size_t)16 << 20)

/* A field between blanks, still escaped. */
struct field {
    const char *p;
    size_t n;
};

/* Takes the next field off [*p, end). Empty at the end of the line. */
static struct field next_field(const char **p, const char *end) {
    while (*p < end && **p == ' ')
        (*p)++;
    struct field f = {.p = *p};
    while (*p < end && **p != ' ')
        (*p)++;
    f.n = (size_t)(*p - f.p);
    return f;
}

static bool is_octal(char c) {
    return c >= '0' && c <= '7';
}

/* The next character of a field: the kernel writes blank, tab, newline and backslash as \ooo. */
static char next_char(const char **p, const char *end) {
    const char *s = *p;
    if (end - s >= 4 && s[0] == '\\' && is_octal(s[1]) && is_octal(s[2]) && is_octal(s[3])) {
        *p += 4;
        return (char)(((s[1] - '0') << 6) | ((s[2] - '0') << 3) | (s[3] - '0'));
    }
    *p += 1;
    return *s;
}

static bool field_equals(struct field f, const char *text) {
    const char *p = f.p, *end = f.p + f.n;
    while (p < end && *text)
        if (next_char(&p, end) != *text++)
            return false;
    return p == end && !*text;
}

static void field_copy(struct field f, char *out, size_t size) {
    const char *p = f.p, *end = f.p + f.n;
    size_t n = 0;
    while (p < end && n + 1 < size)
        out[n++] = next_char(&p, end);
    out[n] = '\0';
}

static bool parse_number(const char **p, const char *end, unsigned *ret) {
    unsigned value = 0;
    const char *first = *p;
    for (; *p < end && **p >= '0' && **p <= '9'; (*p)++) {
        if (value > UINT_MAX / 10 - 1)
            return false;
        value = value * 10 + (unsigned)(**p - '0');
    }
    *ret = value;
    return *p > first;
}

static bool parse_device(struct field f, dev_t *ret) {
    const char *p = f.p, *end = f.p + f.n;
    unsigned major, minor;
    if (!parse_number(&p, end, &major) || p == end || *p++ != ':' || !parse_number(&p, end, &minor) ||
        p != end)
        return false;
    *ret = makedev(major, minor);
    return true;
}

/* 36 35 98:0 /root /point rw,noatime master:1 - ext3 /dev/root rw: any number of fields before the "-". */
static bool parse_line(const char *p, const char *end, const char *point, struct mount *ret) {
    (void)next_field(&p, end);
    (void)next_field(&p, end);
    struct field device = next_field(&p, end);
    (void)next_field(&p, end);
    struct field where = next_field(&p, end);
    struct mount m = {0};
    if (!where.n || !field_equals(where, point) || !parse_device(device, &m.device))
        return false;
    struct field f;
    do
        f = next_field(&p, end);
    while (f.n && !field_equals(f, "-"));
    struct field fstype = next_field(&p, end), source = next_field(&p, end);
    if (!fstype.n)
        return false;
    field_copy(fstype, m.fstype, sizeof m.fstype);
    field_copy(source, m.source, sizeof m.source);
    *ret = m;
    return true;
}

int mounts_parse(const char *text, size_t n, const char *point, struct mount *ret) {
    const char *p = text, *end = text + n;
    int r = 1;
    while (p < end) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        const char *stop = newline ? newline : end;
        if (parse_line(p, stop, point, ret))
            r = 0;
        p = stop + (newline != NULL);
    }
    return r;
}

/* The path as the kernel writes it, without asking the file system that may be mounted on its last component.
 */
static int resolve(const char *point, char out[PATH_MAX]) {
    char parent[PATH_MAX], real[PATH_MAX];
    if (point[0] != '/' || strlen(point) >= sizeof parent)
        return err_set(ERR_INVALID, "%s is not a usable absolute path", point);
    (void)snprintf(parent, sizeof parent, "%s", point);
    size_t n = strlen(parent);
    while (n > 1 && parent[n - 1] == '/')
        parent[--n] = '\0';
    char *slash = strrchr(parent, '/');
    const char *name = slash + 1;
    if (!*name)
        return err_set(ERR_INVALID, "%s cannot be a mount point here", point);
    *slash = '\0';
    if (!realpath(*parent ? parent : "/", real))
        return errno == ENOENT ? 1 : err_errno("cannot resolve %s", point);
    if ((size_t)snprintf(out, PATH_MAX, "%s/%s", strcmp(real, "/") == 0 ? "" : real, name) >= PATH_MAX)
        return err_set(ERR_INVALID, "%s is too long", point);
    return 0;
}

static int open_mountinfo(int *ret_fd) {
    int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno("cannot read the list of mounts");
    *ret_fd = fd;
    return 0;
}

static int look(int fd, const char *resolved, struct mount *ret) {
    cleanup(buf) struct buf text = {.max = MOUNTS_MAX};
    char chunk[16384];
    for (;;) {
        ssize_t n = pread(fd, chunk, sizeof chunk, (off_t)text.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno("cannot read the list of mounts");
        if (n == 0)
            return mounts_parse(text.data ? text.data : "", text.len, resolved, ret);
        int r = buf_add(&text, chunk, (size_t)n);
        if (r < 0)
            return r;
    }
}

int mounts_find(const char *point, struct mount *ret) {
    char resolved[PATH_MAX];
    cleanup(fd) int fd = -1;
    int r = resolve(point, resolved);
    if (r == 0)
        r = open_mountinfo(&fd);
    return r == 0 ? look(fd, resolved, ret) : r;
}

int mounts_wait(const char *point, bool mounted, int wake, int64_t deadline) {
    char resolved[PATH_MAX];
    cleanup(fd) int fd = -1;
    int r = resolve(point, resolved);
    if (r == 1)
        return mounted ? err_set(ERR_NOT_FOUND, "%s does not exist", point) : 0;
    if (r == 0)
        r = open_mountinfo(&fd);
    if (r < 0)
        return r;
    /* The descriptor was opened before the look: a change in between makes poll return at once. */
    struct pollfd pfd[] = {{.fd = fd, .events = POLLPRI}, {.fd = wake, .events = POLLIN}};
    for (;;) {
        struct mount m;
        r = look(fd, resolved, &m);
        if (r < 0 || (r == 0) == mounted)
            return r < 0 ? r : 0;
        if (pfd[1].revents)
            return 1;
        if (clock_boot_ms() >= deadline)
            return err_set(ERR_TIMEOUT, "%s is still%s mounted", point, mounted ? " not" : "");
        if (poll(pfd, 2, clock_left(deadline)) < 0 && errno != EINTR)
            return err_errno("cannot wait for mounts");
    }
}

static int unmount_as_root(const char *point, bool lazy) {
    if (umount2(point, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0 || errno == EINVAL)
        return 0;
    return errno == EBUSY ? 1 : err_errno("cannot unmount %s", point);
}

int mounts_unmount(const char *point, bool lazy, int64_t deadline) {
    struct mount m;
    char resolved[PATH_MAX];
    int r = resolve(point, resolved);
    if (r == 0)
        r = mounts_find(point, &m);
    if (r != 0)
        return r < 0 ? r : 0;
    cleanup(free) char *program = NULL;
    if (process_find_program("fusermount3", &program) < 0 && process_find_program("fusermount", &program) < 0)
        return geteuid() == 0 ? unmount_as_root(resolved, lazy)
                              : err_set(ERR_WRONG_STATE,
                                        "the program fusermount3 is missing: install the package fuse3");
    const char *const argv[] = {"fusermount3", lazy ? "-uz" : "-u", "--", resolved, NULL};
    struct process_spawn how = {.path = program, .argv = argv, .new_session = true};
    cleanup(process) struct process p = PROCESS_NONE;
    r = process_spawn(&how, &p);
    if (r == 0)
        r = process_wait(&p, deadline, NULL);
    if (r == ERR_TIMEOUT)
        (void)process_kill(&p, clock_boot_ms() + 500);
    if (r < 0)
        return r;
    /* Its exit status does not tell "busy" from other failures, and the list of mounts does not lie. */
    r = mounts_find(point, &m);
    return r < 0 ? r : r == 0;
}
