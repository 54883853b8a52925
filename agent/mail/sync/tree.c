#include "agent/mail/sync/tree.h"
#include "agent/mail/sync/hook.h"
#include "agent/mail/sync/remote.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The directories that hold mail. */
struct tree {
    char **paths; /* owned, sorted */
    size_t n, allocated;
};

static void tree_cleanup(struct tree *t) {
    for (size_t i = 0; i < t->n; i++)
        free(t->paths[i]);
    free(t->paths);
}

static void dir_cleanup(DIR **d) {
    if (*d)
        (void)closedir(*d);
}

static int tree_add(struct tree *t, const char *path) {
    if (t->n == t->allocated) {
        size_t more = t->allocated ? t->allocated * 2 : 32;
        char **grown = more > TREE_MAX ? NULL : reallocarray(t->paths, more, sizeof *grown);
        if (!grown)
            return err_set(ERR_TOO_LARGE, "the Maildir has too many folders");
        t->paths = grown;
        t->allocated = more;
    }
    t->paths[t->n] = strdup(path);
    return t->paths[t->n] ? (t->n++, 0) : err_set(ERR_SYSTEM, "out of memory");
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

static bool is_folder(int dir) {
    return faccessat(dir, "cur", F_OK, AT_SYMLINK_NOFOLLOW) == 0 &&
           faccessat(dir, "new", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Walks what is below `parent`/`name`, and watches it. */
static int tree_walk(struct sync *s, struct tree *t, int parent, const char *name, struct buf *path,
                     int depth) {
    cleanup(dir) DIR *d = open_dir(parent, name);
    int r = 0;
    if (!d || depth > NAME_DEPTH_MAX)
        return d || errno == ENOENT || errno == ENOTDIR || errno == ELOOP
                   ? 0
                   : err_errno("cannot read the Maildir");
    watch_add(&s->watch, dirfd(d), WATCH_TREE, 0);
    if (path->len && is_folder(dirfd(d)))
        r = tree_add(t, path->data);
    for (struct dirent *e; r == 0 && (e = readdir(d));) {
        size_t before = path->len;
        if (e->d_name[0] == '.' || is_part(e->d_name) || (e->d_type != DT_DIR && e->d_type != DT_UNKNOWN))
            continue;
        r = buf_printf(path, "%s%s", before ? "/" : "", e->d_name);
        if (r == 0)
            r = tree_walk(s, t, dirfd(d), e->d_name, path, depth + 1);
        path->len = before;
        if (path->data)
            path->data[before] = '\0';
    }
    return r;
}

static int compare(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int tree_read(struct sync *s, struct tree *t) {
    cleanup(buf) struct buf path = {0};
    int r = store_check(&s->store);
    if (r == 0)
        r = tree_walk(s, t, s->store.root, ".", &path, 0);
    if (t->n > 1)
        qsort(t->paths, t->n, sizeof *t->paths, compare);
    return r;
}

static bool tree_has(const struct tree *t, const char *path) {
    return t->n && bsearch(&path, t->paths, t->n, sizeof *t->paths, compare);
}

__attribute__((format(printf, 2, 3))) static void trouble(struct folder_list *l, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(l->trouble, sizeof l->trouble, fmt, args);
    va_end(args);
}

/* -- renamed -------------------------------------------------------------------------------------------- */

/* The folder whose messages lie in a directory that is not known, NULL: none, or of several. */
static struct sync_folder *find_owner(const struct sync *s, const struct folder_list *l,
                                      const char *directory) {
    cleanup(maildir) struct maildir m = MAILDIR_INIT;
    struct sync_folder *owner = NULL;
    bool made = false;
    if (maildir_open(s->store.root, directory, false, &made, &m) != 0)
        return NULL;
    const int dirs[] = {m.cur, m.fresh};
    for (size_t i = 0; i < 2; i++) {
        cleanup(dir) DIR *d = open_dir(dirs[i], ".");
        for (struct dirent *e; d && (e = readdir(d));) {
            struct name_message name;
            const char *suffix = NULL;
            if (!name_parse(e->d_name, &name, &suffix))
                continue;
            for (size_t k = 0; k < l->n; k++) {
                struct sync_folder *f = l->items[k];
                if (f->row.hash != name.hash || f->row.uidvalidity != name.uidvalidity)
                    continue;
                if (owner && owner != f)
                    return NULL;
                owner = f;
            }
        }
    }
    return owner;
}

/* The new name of a folder below one that was renamed; NULL: it is not below it. */
static char *moved_name(const char *name, const char *from, const char *to, char delimiter) {
    size_t n = strlen(from);
    char *out = NULL;
    if (strncmp(name, from, n) != 0 || name[n] != delimiter || !delimiter)
        return NULL;
    return asprintf(&out, "%s%s", to, name + n) < 0 ? NULL : out;
}

/* The rows of a folder and of all below it, which the server renamed with it. */
static int rename_rows(struct sync *s, struct folder_list *l, struct sync_folder *f, const char *mailbox,
                       const char *directory) {
    cleanup(free) char *from = strdup(f->mailbox), *from_directory = strdup(f->directory);
    int r = from && from_directory ? folder_list_rename(s, f, mailbox, directory)
                                   : err_set(ERR_SYSTEM, "out of memory");
    for (size_t i = 0; r == 0 && from && from_directory && i < l->n; i++) {
        struct sync_folder *below = l->items[i];
        cleanup(free) char *name = moved_name(below->mailbox, from, mailbox, l->delimiter);
        cleanup(free) char *path = moved_name(below->directory, from_directory, directory, '/');
        if (name && path)
            r = folder_list_rename(s, below, name, path);
    }
    return r;
}

static int tree_rename(struct sync *s, struct folder_list *l, struct sync_folder *f, const char *directory) {
    cleanup(buf) struct buf mailbox = {0}, quoted = {0};
    int r = name_mailbox(directory, l->delimiter, &mailbox);
    if (r == 0)
        r = imap_quote(s->imap, mailbox.data, mailbox.len, &quoted);
    if (r < 0)
        return r;
    s->selected = NULL;
    r = imap_command(s->imap, "RENAME %s %s", f->quoted, quoted.data);
    if (r > 0) {
        trouble(l, "the server does not rename a folder to \"%.80s\": %.80s", directory, s->imap->text);
        return 0;
    }
    mail_hook_step();
    l->moved = true;
    if (r == 0)
        log_info("a mail folder was renamed on this device");
    return r < 0 ? r : rename_rows(s, l, f, mailbox.data, directory);
}

/* -- made ----------------------------------------------------------------------------------------------- */

static int tree_create(struct sync *s, struct folder_list *l, const char *directory) {
    cleanup(buf) struct buf mailbox = {0}, quoted = {0};
    int r = name_mailbox(directory, l->delimiter, &mailbox);
    if (r == 0)
        r = imap_quote(s->imap, mailbox.data, mailbox.len, &quoted);
    if (r < 0)
        return r;
    r = imap_command(s->imap, "CREATE %s", quoted.data);
    if (r < 0)
        return r;
    mail_hook_step();
    if (r > 0 && s->imap->code != IMAP_CODE_ALREADYEXISTS) {
        trouble(l, "the server does not make the folder \"%.80s\": %.80s", directory, s->imap->text);
        l->homeless = true;
        return 0;
    }
    r = folder_list_add(s, l, mailbox.data, directory);
    struct sync_folder *f = r == 0 ? folder_list_find_directory(l, directory) : NULL;
    if (!f || f->row.uidvalidity != 0)
        return r;
    f->born_here = true;
    f->row.uidnext = FOLDER_BORN_HERE; /* also after a crash */
    return state_folder_put(s->state, &f->row);
}

/* A directory that no folder has. */
static int tree_new(struct sync *s, struct folder_list *l, const struct tree *t, const char *directory) {
    struct sync_folder *owner = find_owner(s, l, directory);
    bool renamed = owner && owner->use == FOLDER_USE_NONE && owner->listed && !tree_has(t, owner->directory);
    int r = renamed ? tree_rename(s, l, owner, directory) : tree_create(s, l, directory);
    if (r == ERR_INVALID || r == ERR_TOO_LARGE || r == ERR_REFUSED) {
        trouble(l, "the folder \"%.80s\" stays on this device: %.80s", directory, err_text());
        l->homeless = true;
        r = 0;
    }
    return r;
}

int tree_update(struct sync *s, struct folder_list *l) {
    cleanup(tree) struct tree t = {0};
    int r = tree_read(s, &t);
    l->trouble[0] = '\0';
    l->homeless = false;
    for (size_t i = 0; r == 0 && i < t.n; i++) /* sorted: what holds others comes before them */
        if (!folder_list_find_directory(l, t.paths[i]))
            r = tree_new(s, l, &t, t.paths[i]);
    return r;
}

/* -- removed -------------------------------------------------------------------------------------------- */

static int tree_bring_back(struct sync *s, struct sync_folder *f) {
    cleanup(maildir) struct maildir m = MAILDIR_INIT;
    bool made = false;
    int r = maildir_open(s->store.root, f->directory, true, &made, &m);
    if (r == 0)
        r = state_want(s->state, f->row.id, 0, true);
    f->opened = false;
    f->dirty = true;
    f->fetch_below = f->large_below = UINT32_MAX;
    return r < 0 ? r : state_counts_all(s->state, &s->counts);
}

/* Whether the server holds nothing that was not in the copy. */
static int is_known(struct sync *s, struct sync_folder *f, bool *ret) {
    cleanup(remote) struct remote there = {0};
    s->selected = NULL;
    int r = imap_select(s->imap, f->quoted);
    if (r != IMAP_OK || (s->imap->uidvalidity != f->row.uidvalidity && !f->born_here))
        return r < 0 ? r : 0;
    r = remote_read_all(s, f, &there);
    bool known = there.complete;
    for (size_t i = 0; r == 0 && known && i < there.n; i++) {
        struct state_message row = {0};
        r = state_message_get(s->state, f->row.id, there.items[i].uid, &row);
        known = r == 0 && (row.kind == PLAN_HAVE || row.kind == PLAN_GONE);
        r = r > 0 ? 0 : r;
    }
    if (r < 0)
        return r;
    *ret = known;
    /* out of it again, or it cannot be deleted everywhere */
    r = imap_select(s->imap, "INBOX");
    return r < 0 ? r : 0;
}

/* *ret_dropped: the folder is gone. */
static int tree_remove(struct sync *s, struct folder_list *l, struct sync_folder *f, bool *ret_dropped) {
    struct state_counts counts = {0};
    bool known = false;
    int r = state_counts_of(s->state, f->row.id, &counts);
    if (r < 0)
        return r;
    f->held = f->held || (l->moved && counts.have > 0);
    f->asks = (f->held || plan_is_suspicious((size_t)counts.have, (size_t)counts.have)) && !s->confirmed;
    if (f->asks) {
        f->problem[0] = '\0';
        sync_folder_problem(
            f,
            "the folder was removed on this device, with %lld messages; it stays on the server until "
            "`satchel sync --confirm-deletions`",
            (long long)counts.have);
        return 0;
    }
    r = is_known(s, f, &known);
    if (r < 0)
        return r;
    r = known ? imap_command(s->imap, "DELETE %s", f->quoted) : IMAP_NO;
    if (r < 0)
        return r;
    if (r > 0) {
        log_info("a mail folder that was removed on this device comes back");
        return tree_bring_back(s, f);
    }
    mail_hook_step();
    log_info("a mail folder was removed on this device");
    *ret_dropped = true;
    return folder_list_drop(s, l, f);
}

int tree_delete(struct sync *s, struct folder_list *l) {
    cleanup(tree) struct tree t = {0};
    if (l->homeless)
        return 0;
    for (size_t i = 0; i < l->n; i++)
        if (l->items[i]->foreign.len)
            return 0;
    int r = tree_read(s, &t);
    for (size_t i = l->n; r == 0 && i > 0; i--) { /* what lies below others first */
        struct sync_folder *f = l->items[i - 1];
        bool dropped = false;
        if (tree_has(&t, f->directory))
            f->held = false;
        if (f->use != FOLDER_USE_NONE || (f->row.uidvalidity == 0 && !f->born_here) || !f->listed ||
            tree_has(&t, f->directory))
            continue;
        r = tree_remove(s, l, f, &dropped);
    }
    return r;
}
