#include "platform/linux/paths.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/base/file.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* The value of an XDG variable; the specification says that a relative path is to be ignored. */
static const char *paths_variable(const char *name) {
    const char *value = getenv(name);
    return value && value[0] == '/' ? value : NULL;
}

static int paths_join(char out[PATH_MAX], const char *a, const char *b) {
    size_t n = strlen(a);
    while (n > 1 && a[n - 1] == '/')
        n--;
    /* room for what is put below it: the longest name of a file of ours */
    if (snprintf(out, PATH_MAX, "%.*s/%s", (int)n, a, b) >= PATH_MAX - 256)
        return err_set(ERR_INVALID, "the path %.100s... is too long", a);
    return 0;
}

static int paths_base(char out[PATH_MAX], const char *variable, const char *below_home) {
    const char *value = paths_variable(variable), *home = getenv("HOME");
    if (value)
        return paths_join(out, value, "satchel");
    if (!home || home[0] != '/') {
        const struct passwd *pw = getpwuid(getuid());
        home = pw ? pw->pw_dir : NULL;
    }
    if (!home || home[0] != '/')
        return err_set(ERR_NOT_FOUND, "no home directory: set HOME");
    char path[PATH_MAX];
    int r = paths_join(path, home, below_home);
    return r < 0 ? r : paths_join(out, path, "satchel");
}

int paths_find(struct paths *ret) {
    struct paths p = {0};
    int r = paths_base(p.state, "XDG_STATE_HOME", ".local/state");
    if (r == 0)
        r = paths_base(p.data, "XDG_DATA_HOME", ".local/share");
    if (r == 0)
        r = paths_join(p.ciphertext, p.data, "vault.enc");
    if (r == 0)
        r = paths_join(p.vault, p.data, "vault");
    if (r == 0)
        r = paths_variable("XDG_RUNTIME_DIR")
                ? paths_join(p.runtime, paths_variable("XDG_RUNTIME_DIR"), "satchel")
                : paths_join(p.runtime, p.state, "run");
    if (r == 0)
        r = paths_join(p.control, p.runtime, "control");
    if (r == 0)
        *ret = p;
    return r;
}

static int paths_make_own(const char *path, int *ret_fd) {
    cleanup(fd) int fd = -1;
    int r = file_make_dirs(path, 0700, &fd);
    if (r < 0)
        return r;
    struct stat st;
    if (fstat(fd, &st) < 0)
        return err_errno("cannot look at %s", path);
    if (st.st_uid != geteuid())
        return err_set(ERR_REFUSED, "%s belongs to another user", path);
    if ((st.st_mode & 077) && fchmod(fd, 0700) < 0)
        return err_errno("cannot make %s private", path);
    *ret_fd = steal_fd(&fd);
    return 0;
}

int paths_make(const struct paths *p, int *ret_state_fd) {
    cleanup(fd) int state = -1, runtime = -1;
    int r = paths_make_own(p->state, &state);
    if (r == 0)
        r = paths_make_own(p->runtime, &runtime);
    if (r == 0)
        *ret_state_fd = steal_fd(&state);
    return r;
}
