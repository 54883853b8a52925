#include "agent/vault/keydir.h"
#include "platform/base/cleanup.h"
#include "platform/base/encode.h"
#include "platform/base/err.h"
#include "platform/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

int keydir_open(const struct vault *v, int *ret_fd) {
    int fd = open(v->ciphertext, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
        return VAULT_NOTHING;
    if (fd < 0)
        return err_errno("cannot open %s", v->ciphertext);
    *ret_fd = fd;
    return 0;
}

bool keydir_has(int dir, const char *name) {
    struct stat st;
    return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
}

int keydir_list(int dir, DIR **ret) {
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    if (!stream) {
        (void)err_errno("cannot list the vault");
        if (fd >= 0)
            (void)close(fd);
        return ERR_SYSTEM;
    }
    *ret = stream;
    return 0;
}

bool keydir_is_dot(const char *name) {
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* "NAME", or "NAME.tmp" and "NAME.xyz.tmp", which a write that was cut off left. */
static bool is_named(const char *entry, const char *const *names) {
    for (; *names; names++) {
        size_t n = strlen(*names), len = strlen(entry);
        if (strncmp(entry, *names, n) == 0 &&
            (len == n || (entry[n] == '.' && len >= n + 4 && strcmp(entry + len - 4, ".tmp") == 0)))
            return true;
    }
    return false;
}

static int clear_half_made(const struct vault *v, int dir, const char *const *names) {
    cleanup(stream_dir) DIR *stream = NULL;
    int r = keydir_list(dir, &stream);
    if (r < 0)
        return r;
    struct dirent *entry;
    while ((entry = readdir(stream)))
        if (!keydir_is_dot(entry->d_name) && !is_named(entry->d_name, names))
            return err_set(ERR_WRONG_STATE, "%s is not empty and not a vault; nothing was changed",
                           v->ciphertext);
    rewinddir(stream);
    while (r == 0 && (entry = readdir(stream)))
        if (!keydir_is_dot(entry->d_name))
            r = file_remove(dir, entry->d_name);
    return r;
}

int keydir_make(const struct vault *v, const char *const *names, int *ret_fd) {
    if (mkdir(v->ciphertext, 0700) < 0 && errno != EEXIST)
        return err_errno("cannot make %s", v->ciphertext);
    cleanup(fd) int dir = -1;
    int r = keydir_open(v, &dir);
    if (r == VAULT_NOTHING)
        return err_set(ERR_WRONG_STATE, "%s is not a directory", v->ciphertext);
    if (r == 0)
        r = clear_half_made(v, dir, names);
    if (r < 0)
        return r;
    if (fchmod(dir, 0700) < 0)
        return err_errno("cannot protect %s", v->ciphertext);
    *ret_fd = steal_fd(&dir);
    return 0;
}

static void overwrite(int dir, const char *name) {
    struct stat st;
    cleanup(fd) int look = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (look < 0 || fstat(look, &st) < 0 || !S_ISREG(st.st_mode) || st.st_nlink != 1 || st.st_size > 65536)
        return;
    char path[64], rubbish[4096];
    (void)fchmod(look, 0600);
    /* Through the descriptor: the name could be another file by now. */
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", look);
    cleanup(fd) int fd = open(path, O_WRONLY | O_CLOEXEC);
    for (off_t at = 0; fd >= 0 && at < st.st_size; at += (off_t)sizeof rubbish) {
        size_t n = (size_t)(st.st_size - at);
        random_bytes(rubbish, sizeof rubbish);
        if (pwrite(fd, rubbish, n < sizeof rubbish ? n : sizeof rubbish, at) < 0)
            break;
    }
    if (fd < 0 || fsync(fd) < 0)
        log_warning("the key material of the vault could not be overwritten, only removed");
}

int keydir_destroy(const struct vault *v, const char *prefix) {
    cleanup(fd) int dir = -1;
    cleanup(stream_dir) DIR *stream = NULL;
    int r = keydir_open(v, &dir);
    if (r == 0)
        r = keydir_list(dir, &stream);
    if (r != 0)
        return r;
    bool anything = false;
    struct dirent *entry;
    while ((entry = readdir(stream))) {
        if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0)
            continue;
        anything = true;
        overwrite(dir, entry->d_name);
        int s = file_remove(dir, entry->d_name);
        r = r < 0 ? r : s;
    }
    return r < 0 || anything ? r : VAULT_NOTHING;
}
