#include "agent/mail/sync/place.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct places {
    struct sync *sync;
    struct folder_list *list;
    const struct directories *tree;
    const struct directory **at; /* owned: of each folder, NULL: nowhere */
    bool *taken;                 /* owned: of each directory */
};

static void places_cleanup(struct places *p) {
    free(p->at);
    free(p->taken);
}

static void dir_cleanup(DIR **d) {
    if (*d)
        (void)closedir(*d);
}

static void settle(struct places *p, size_t folder, const struct directory *d) {
    p->at[folder] = d;
    p->taken[d - p->tree->items] = true;
}

static bool is_free(const struct places *p, const struct directory *d) {
    return d && !p->taken[d - p->tree->items];
}

/* Whether a reader may rename it at all. */
static bool is_known(const struct sync_folder *f) {
    return f->use == FOLDER_USE_NONE && (f->row.uidvalidity != 0 || f->born_here);
}

/* Calls `each` for the folder of every file of ours in a directory, until it says that this is enough. */
static void look_inside(const struct places *p, const struct directory *d,
                        bool (*each)(void *ctx, size_t folder), void *ctx) {
    cleanup(maildir) struct maildir m = MAILDIR_INIT;
    bool made = false, enough = false;
    if (maildir_open(p->sync->store.root, d->path, false, &made, &m) != 0)
        return;
    const int dirs[] = {m.cur, m.fresh};
    for (size_t i = 0; i < 2 && !enough; i++) {
        int fd = openat(dirs[i], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        cleanup(dir) DIR *list = fd < 0 ? NULL : fdopendir(fd);
        if (fd >= 0 && !list)
            (void)close(fd);
        for (struct dirent *e; list && !enough && (e = readdir(list));) {
            struct name_message name;
            const char *suffix = NULL;
            bool ours = name_parse(e->d_name, &name, &suffix);
            for (size_t k = 0; ours && !enough && k < p->list->n; k++)
                if (p->list->items[k]->row.hash == name.hash)
                    enough = each(ctx, k);
        }
    }
}

struct wanted {
    size_t folder;
    bool found, other;
};

static bool is_wanted(void *ctx, size_t folder) {
    struct wanted *w = ctx;
    w->found = folder == w->folder;
    w->other = w->other || !w->found;
    return w->found;
}

/* Whether a directory may be that of the folder, by what is in it: an inode may be a new one with an old
 * number. */
static bool may_be(const struct places *p, const struct directory *d, size_t folder) {
    struct wanted w = {.folder = folder};
    look_inside(p, d, is_wanted, &w);
    return w.found || !w.other;
}

struct tally {
    size_t *counts;
};

static bool count(void *ctx, size_t folder) {
    struct tally *t = ctx;
    t->counts[folder]++;
    return false;
}

/* The folder most of whose messages are in a directory that nothing else explains, if it is nowhere else. */
static int settle_by_content(struct places *p, const struct directory *d) {
    cleanup(free) size_t *counts = calloc(p->list->n + 1, sizeof *counts);
    struct tally tally = {.counts = counts};
    size_t best = 0;
    if (!counts)
        return err_set(ERR_SYSTEM, "out of memory");
    look_inside(p, d, count, &tally);
    for (size_t i = 1; i < p->list->n; i++)
        best = counts[i] > counts[best] ? i : best;
    if (p->list->n && counts[best] && !p->at[best] && is_known(p->list->items[best]))
        settle(p, best, d);
    return 0;
}

static int find_all(struct places *p) {
    const struct folder_list *l = p->list;
    bool lost = false;
    int r = 0;
    for (size_t i = 0; i < l->n; i++) { /* those that are where they were */
        const struct sync_folder *f = l->items[i];
        const struct directory *d = directories_find(p->tree, f->directory);
        if (d && (!is_known(f) || d->inode == f->row.inode))
            settle(p, i, d);
    }
    for (size_t i = 0; i < l->n; i++) { /* renamed */
        const struct sync_folder *f = l->items[i];
        const struct directory *d = p->at[i] ? NULL : directories_find_inode(p->tree, f->row.inode);
        if (is_known(f) && is_free(p, d) && may_be(p, d, i))
            settle(p, i, d);
    }
    for (size_t i = 0; i < l->n; i++)
        lost = lost || (!p->at[i] && is_known(l->items[i]));
    for (size_t i = 0; lost && r == 0 && i < p->tree->n; i++)
        if (!p->taken[i])
            r = settle_by_content(p, &p->tree->items[i]);
    for (size_t i = 0; i < l->n; i++) { /* made anew, or put back empty */
        const struct directory *d = p->at[i] ? NULL : directories_find(p->tree, l->items[i]->directory);
        if (is_free(p, d) && may_be(p, d, i))
            settle(p, i, d);
    }
    return r;
}

/* Whether another folder is in the directory of this one. */
static bool is_displaced(const struct places *p, size_t folder) {
    const struct directory *d = directories_find(p->tree, p->list->items[folder]->directory);
    return !p->at[folder] && d && p->taken[d - p->tree->items];
}

/* Whether the folder, which is aside and has nothing here yet, can have the directory that it should have. */
static bool may_come_back(const struct places *p, size_t folder, const char *home) {
    const struct sync_folder *f = p->list->items[folder];
    if (p->at[folder] || !name_is_away(f->directory) || is_known(f))
        return false;
    for (size_t i = 0; i < p->list->n; i++) {
        const char *has = p->at[i] ? p->at[i]->path : p->list->items[i]->directory;
        if (i != folder && strcmp(has, home) == 0)
            return false;
    }
    return true;
}

/* Whether the folder's directory was put aside, and a crash kept it from its new place. */
static bool is_aside(const struct places *p, size_t folder) {
    const struct sync_folder *f = p->list->items[folder];
    char away[NAME_AWAY_SIZE];
    name_away(f->row.hash, away);
    return !p->at[folder] && is_known(f) &&
           faccessat(p->sync->store.root, away, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* The directory that the folder's row shall name. The caller's; NULL without memory. */
static char *path_of(const struct places *p, size_t folder, const char *home) {
    const struct sync_folder *f = p->list->items[folder];
    char away[NAME_AWAY_SIZE];
    name_away(f->row.hash, away);
    if (p->at[folder])
        return strdup(p->at[folder]->path);
    if (is_aside(p, folder))
        return strdup(away);
    if (may_come_back(p, folder, home))
        return strdup(home);
    return strdup(is_displaced(p, folder) ? away : f->directory);
}

/* What the folder's row shall say. `path` is that of path_of(). false: what it says. */
static bool rename_of(const struct places *p, size_t folder, const char *home, const char *path,
                      struct folder_rename *ret) {
    struct sync_folder *f = p->list->items[folder];
    bool moved = strcmp(path, f->directory) != 0;
    bool renamed = p->at[folder] ? is_known(f) && (moved || f->row.renamed) && strcmp(path, home) != 0
                                 : f->row.renamed && !moved;
    *ret = (struct folder_rename){.folder = f, .mailbox = f->mailbox, .directory = path, .renamed = renamed};
    return moved || renamed != f->row.renamed;
}

static int write_down(struct places *p) {
    struct folder_list *l = p->list;
    size_t n = 0;
    int r = 0;
    cleanup(free) struct folder_rename *renames = calloc(l->n + 1, sizeof *renames);
    cleanup(free) char **paths = calloc(l->n + 1, sizeof *paths);
    if (!renames || !paths)
        return err_set(ERR_SYSTEM, "out of memory");
    for (size_t i = 0; r == 0 && i < l->n; i++) {
        cleanup(buf) struct buf home = {0};
        r = folder_list_home(l, l->items[i]->mailbox, &home);
        if (r == 0)
            paths[i] = path_of(p, i, home.data);
        if (r == 0 && !paths[i])
            r = err_set(ERR_SYSTEM, "out of memory");
        if (r == 0 && paths[i])
            n += rename_of(p, i, home.data, paths[i], &renames[n]);
        r = r == ERR_INVALID || r == ERR_TOO_LARGE ? 0 : r; /* of an earlier run, under another delimiter */
    }
    if (r == 0)
        r = folder_list_rename(p->sync, renames, n);
    for (size_t i = 0; i < l->n; i++)
        free(paths[i]);
    return r;
}

int place_update(struct sync *s, struct folder_list *l, const struct directories *t) {
    cleanup(places) struct places p = {.sync = s, .list = l, .tree = t};
    p.at = calloc(l->n + 1, sizeof *p.at);
    p.taken = calloc(t->n + 1, sizeof *p.taken);
    if (!p.at || !p.taken)
        return err_set(ERR_SYSTEM, "out of memory");
    int r = find_all(&p);
    return r < 0 ? r : write_down(&p);
}
