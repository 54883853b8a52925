#include "agent/mail/sync/directories.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void dir_cleanup(DIR **d) {
    if (*d)
        (void)closedir(*d);
}

void directories_finish(struct directories *d) {
    for (size_t i = 0; i < d->n; i++)
        free(d->items[i].path);
    free(d->items);
    *d = (struct directories){0};
}

static int add(struct directories *d, const char *path, uint64_t inode) {
    if (d->n == d->allocated) {
        size_t more = d->allocated ? d->allocated * 2 : 32;
        struct directory *grown = more > DIRECTORIES_MAX ? NULL : reallocarray(d->items, more, sizeof *grown);
        if (!grown)
            return err_set(ERR_TOO_LARGE, "the Maildir has too many folders");
        d->items = grown;
        d->allocated = more;
    }
    d->items[d->n] = (struct directory){.path = strdup(path), .inode = inode};
    return d->items[d->n].path ? (d->n++, 0) : err_set(ERR_SYSTEM, "out of memory");
}

static DIR *open_dir(int parent, const char *name) {
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (fd >= 0 && !d)
        (void)close(fd);
    return d;
}

static bool is_part(const char *name) {
    return strcmp(name, "cur") == 0 || strcmp(name, "new") == 0 || strcmp(name, "tmp") == 0;
}

static bool is_folder(int dir, uint64_t *ret_inode) {
    struct stat st;
    if (fstatat(dir, "cur", &st, AT_SYMLINK_NOFOLLOW) != 0 ||
        faccessat(dir, "new", F_OK, AT_SYMLINK_NOFOLLOW) != 0)
        return false;
    *ret_inode = st.st_ino;
    return true;
}

/* Walks what is below `parent`/`name`, and watches it. */
static int walk(struct sync *s, struct directories *t, int parent, const char *name, struct buf *path,
                int depth) {
    cleanup(dir) DIR *d = open_dir(parent, name);
    uint64_t inode = 0;
    int r = 0;
    if (!d || depth > NAME_DEPTH_MAX)
        return d || errno == ENOENT || errno == ENOTDIR || errno == ELOOP
                   ? 0
                   : err_errno("cannot read the Maildir");
    watch_add(&s->watch, dirfd(d), WATCH_TREE, 0);
    if (path->len && is_folder(dirfd(d), &inode))
        r = add(t, path->data, inode);
    for (struct dirent *e; r == 0 && (e = readdir(d));) {
        size_t before = path->len;
        if (e->d_name[0] == '.' || is_part(e->d_name) || (e->d_type != DT_DIR && e->d_type != DT_UNKNOWN))
            continue;
        r = buf_printf(path, "%s%s", before ? "/" : "", e->d_name);
        if (r == 0)
            r = walk(s, t, dirfd(d), e->d_name, path, depth + 1);
        path->len = before;
        if (path->data)
            path->data[before] = '\0';
    }
    return r;
}

static int compare(const void *a, const void *b) {
    return strcmp(((const struct directory *)a)->path, ((const struct directory *)b)->path);
}

int directories_read(struct sync *s, struct directories *ret) {
    cleanup(directories) struct directories t = {0};
    cleanup(buf) struct buf path = {0};
    int r = store_check(&s->store);
    if (r == 0)
        r = walk(s, &t, s->store.root, ".", &path, 0);
    if (r < 0)
        return r;
    if (t.n > 1)
        qsort(t.items, t.n, sizeof *t.items, compare);
    *ret = t;
    t = (struct directories){0};
    return 0;
}

const struct directory *directories_find(const struct directories *d, const char *path) {
    const struct directory key = {.path = (char *)(uintptr_t)path};
    return d->n ? bsearch(&key, d->items, d->n, sizeof *d->items, compare) : NULL;
}

const struct directory *directories_find_inode(const struct directories *d, uint64_t inode) {
    for (size_t i = 0; inode && i < d->n; i++)
        if (d->items[i].inode == inode)
            return &d->items[i];
    return NULL;
}
