/* Landlock: Documentation/userspace-api/landlock.rst. The headers of the machine it is built on may be older
 * than the kernel it runs on, so what is newer than the first version is named here. */
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/linux/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define FS_TRUNCATE (1ULL << 14)  /* version 3 */
#define FS_IOCTL_DEV (1ULL << 15) /* version 5 */
#define NET_BIND_TCP (1ULL << 0)  /* version 4 */
#define NET_CONNECT_TCP (1ULL << 1)
#define SCOPE_ABSTRACT (1ULL << 0) /* version 6 */
#define SCOPE_SIGNAL (1ULL << 1)
#define RULE_PATH 1
#define RULE_PORT 2
#define DNS_PORT 53

#define FS_READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define FS_CHANGE                                                                                            \
    (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |        \
     LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_REFER | FS_TRUNCATE)
#define FS_OF_FILES                                                                                          \
    (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE | FS_TRUNCATE)

struct ruleset {
    int fd;
    uint64_t fs;
};

struct ruleset_attr {
    uint64_t fs, net, scoped;
};

struct port_attr {
    uint64_t access, port;
};

int sandbox_landlock_version(void) {
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    return version > 0 ? (int)version : 0;
}

/* What this version of the interface knows; a field that it does not know must not be handed to it. */
static uint64_t known_rights(int version) {
    uint64_t all = (1ULL << 13) - 1;
    all |= version >= 2 ? LANDLOCK_ACCESS_FS_REFER : 0;
    all |= version >= 3 ? FS_TRUNCATE : 0;
    return all | (version >= 5 ? FS_IOCTL_DEV : 0);
}

static int make_ruleset(int version, bool ports, struct ruleset *ret) {
    struct ruleset_attr attr = {.fs = known_rights(version)};
    attr.net = version >= 4 ? NET_BIND_TCP | (ports ? NET_CONNECT_TCP : 0) : 0;
    attr.scoped = version >= 6 ? SCOPE_ABSTRACT | SCOPE_SIGNAL : 0;
    size_t size = version >= 6 ? sizeof attr : version >= 4 ? 16 : 8;
    long fd = syscall(SYS_landlock_create_ruleset, &attr, size, 0);
    if (fd < 0)
        return err_errno("cannot confine this process to its files");
    *ret = (struct ruleset){.fd = (int)fd, .fs = attr.fs};
    return 0;
}

static int add_rule(const struct ruleset *r, int type, const void *attr) {
    return syscall(SYS_landlock_add_rule, r->fd, type, attr, 0) == 0
               ? 0
               : err_errno("cannot confine this process to its files");
}

static int allow_path(const struct ruleset *r, const char *path, uint64_t rights) {
    cleanup(fd) int fd = path ? open(path, O_PATH | O_CLOEXEC) : -1;
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return 0;
    rights &= S_ISDIR(st.st_mode) ? r->fs : r->fs & FS_OF_FILES;
    const struct landlock_path_beneath_attr attr = {.allowed_access = rights, .parent_fd = fd};
    return add_rule(r, RULE_PATH, &attr);
}

static int allow_paths(const struct ruleset *r, const char *const *paths, uint64_t rights) {
    int result = 0;
    for (; paths && *paths && result == 0; paths++)
        result = allow_path(r, *paths, rights);
    return result;
}

static int allow_ports(const struct ruleset *r, const struct sandbox *s) {
    struct port_attr attr = {.access = NET_CONNECT_TCP, .port = DNS_PORT};
    int result = add_rule(r, RULE_PORT, &attr);
    for (size_t i = 0; i < sizeof s->ports / sizeof *s->ports && result == 0; i++) {
        attr.port = s->ports[i];
        if (attr.port)
            result = add_rule(r, RULE_PORT, &attr);
    }
    return result;
}

int sandbox_files(const struct sandbox *s, struct sandbox_state *state) {
    int version = sandbox_landlock_version();
    bool ports = version >= 4 && (s->ports[0] || s->ports[1] || s->ports[2] || s->ports[3]);
    /* The first version knows no right to move a file to another directory, and forbids that: a Maildir
     * moves. */
    if (version < 2)
        return 0;
    struct ruleset rules = {.fd = -1};
    int r = make_ruleset(version, ports, &rules);
    cleanup(fd) int fd = rules.fd;
    if (r == 0)
        r = allow_paths(&rules, sandbox_system, FS_READ);
    if (r == 0)
        r = allow_paths(&rules, s->read, FS_READ);
    if (r == 0)
        r = allow_path(&rules, s->list, LANDLOCK_ACCESS_FS_READ_DIR);
    if (r == 0)
        r = allow_path(&rules, s->write, FS_READ | FS_CHANGE);
    if (r == 0 && ports)
        r = allow_ports(&rules, s);
    if (r == 0 && syscall(SYS_landlock_restrict_self, fd, 0) != 0)
        r = err_errno("cannot confine this process to its files");
    if (r < 0)
        return r;
    state->landlock = version;
    state->files = true;
    state->ports = ports;
    state->outside = version >= 6;
    return 0;
}
