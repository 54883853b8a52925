#include "agent/mail/sync/store.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/linux/fscrypt.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int store_check(const struct store *s) {
    struct stat at, held;
    if (stat(s->path, &at) != 0 || at.st_dev != s->device || fstat(s->vault, &held) != 0 ||
        held.st_ino != at.st_ino || held.st_dev != at.st_dev || fscrypt_is_shut(s->vault))
        return err_set(ERR_WRONG_STATE, "the vault is not open");
    return 0;
}

static int store_dir(int vault, const char *name, int *ret) {
    if (mkdirat(vault, name, 0700) != 0 && errno != EEXIST)
        return err_errno("cannot make %s in the vault", name);
    int fd = openat(vault, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_errno("cannot open %s in the vault", name);
    *ret = fd;
    return 0;
}

int store_open(const char *path, uint64_t device, struct store *ret) {
    struct store s = STORE_INIT;
    cleanup(fd) int state = -1;
    s.path = strdup(path);
    s.device = device;
    if (!s.path)
        return err_set(ERR_SYSTEM, "out of memory");
    s.vault = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int r = s.vault < 0 ? err_set(ERR_WRONG_STATE, "the vault is not open: %s", strerror(errno))
                        : store_check(&s);
    if (r == 0)
        r = store_dir(s.vault, "Mail", &s.root);
    if (r == 0)
        r = store_dir(s.vault, "mail-state", &state);
    if (r < 0) {
        store_close(&s);
        return r;
    }
    s.beside = openat(s.vault, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat outside;
    if (s.beside >= 0 && fstat(s.beside, &outside) == 0 && outside.st_dev == device) {
        (void)close(s.beside); /* one and the same file system */
        s.beside = -1;
    }
    *ret = s;
    return 0;
}

void store_close(struct store *s) {
    free(s->path);
    fd_cleanup(&s->vault);
    fd_cleanup(&s->root);
    fd_cleanup(&s->beside);
    *s = (struct store)STORE_INIT;
}

int store_sync(const struct store *s) {
    if (syncfs(s->vault) != 0 || (s->beside >= 0 && syncfs(s->beside) != 0))
        return err_errno("cannot write the mail to disk");
    return 0;
}
