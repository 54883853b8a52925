#include "agent/mail/sync/folder.h"
#include "agent/mail/sync/age.h"
#include "agent/mail/sync/hook.h"
#include "agent/mail/sync/list.h"
#include "agent/mail/sync/local.h"
#include "agent/mail/sync/match.h"
#include "agent/mail/sync/moved.h"
#include "agent/mail/sync/remote.h"
#include "agent/mail/sync/upload.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/base/file.h"
#include "platform/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define WINDOW_MS 10000 /* removals within it are looked at together */

/* What one pass over a folder gathers. */
struct pass {
    struct sync *sync;
    struct sync_folder *folder;
    struct maildir maildir;
    struct local local;
    struct remote remote;
    struct plan_base *base; /* owned */
    size_t n_base;
    struct plan_local *files; /* owned */
    size_t n_files;
    struct plan_remote *there; /* owned, when the list in `remote` is not whole */
    size_t n_there;
    struct plan plan;
    bool complete; /* nothing is left to do */
};

static void pass_cleanup(struct pass *p) {
    maildir_close(&p->maildir);
    local_finish(&p->local);
    remote_finish(&p->remote);
    free(p->base);
    free(p->files);
    free(p->there);
    plan_finish(&p->plan);
}

void sync_folder_destroy(struct sync_folder *f) {
    if (!f)
        return;
    free(f->mailbox);
    free(f->quoted);
    free(f->directory);
    keyword_finish(&f->keywords);
    hints_finish(&f->hints);
    buf_finish(&f->foreign);
    buf_finish(&f->refused);
    free(f);
}

int sync_pause(const struct sync *s, int ms) {
    struct pollfd p = {.fd = s->cancel, .events = POLLIN};
    int n = poll(&p, 1, ms);
    if (n < 0 && errno != EINTR)
        return err_errno("cannot wait");
    return n > 0 ? err_set(ERR_CANCELED, "canceled") : 0;
}

void sync_folder_problem(struct sync_folder *f, const char *fmt, ...) {
    if (*f->problem) /* the first one is the cause */
        return;
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(f->problem, sizeof f->problem, fmt, args);
    va_end(args);
}

/* -- opening -------------------------------------------------------------------------------------------- */

static bool part_is_wanted(void *ctx, uint32_t uid) {
    const struct pass *p = ctx;
    struct state_message row = {.part = -1};
    return state_message_get(p->sync->state, p->folder->row.id, uid, &row) == 0 && row.kind == PLAN_WANTED &&
           row.part >= 0;
}

/* The flags with slots moved. */
static uint32_t map_flags(const int map[FLAGS_SLOTS], uint32_t flags) {
    uint32_t out = flags & ~FLAGS_KEYWORDS;
    for (int i = 0; i < FLAGS_SLOTS; i++)
        if (flags & FLAGS_SLOT(i) && map[i] >= 0)
            out |= FLAGS_SLOT(map[i]);
    return out;
}

/* A reader gave letters another meaning: what was agreed on keeps its keyword, and the files say what they
 * now say. */
static int map_rows(struct sync *s, struct sync_folder *f, const int map[FLAGS_SLOTS]) {
    cleanup(free) struct plan_base *rows = NULL;
    size_t n = 0;
    int r = state_messages(s->state, f->row.id, &rows, &n);
    if (r == 0)
        r = state_begin(s->state);
    for (size_t i = 0; r == 0 && i < n; i++)
        if (map_flags(map, rows[i].flags) != rows[i].flags)
            r = state_message_flags(s->state, f->row.id, rows[i].uid, map_flags(map, rows[i].flags),
                                    rows[i].local);
    if (r == 0)
        r = state_keywords_put(s->state, f->row.id, &f->keywords);
    if (r == 0)
        r = state_commit(s->state);
    state_rollback(s->state);
    f->all = true;
    return r;
}

/* What the letters stand for: as the folder's file has it, and beyond that the database. */
static int open_keywords(struct sync *s, struct sync_folder *f, const struct maildir *m) {
    struct keywords known = {0};
    cleanup(buf) struct buf text = {0}, now = {0};
    int map[FLAGS_SLOTS];
    bool moved = false;
    keyword_finish(&f->keywords);
    int r = state_keywords_get(s->state, f->row.id, &known);
    if (r == 0 && faccessat(m->folder, KEYWORD_FILE, F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
        r = file_read(m->folder, KEYWORD_FILE, KEYWORD_FILE_MAX, &text);
        if (r == ERR_TOO_LARGE || r == ERR_INVALID)
            r = 0;
    }
    if (r == 0 && text.len)
        keyword_parse(&f->keywords, text.data, text.len);
    for (int i = 0; r == 0 && i < FLAGS_SLOTS; i++) {
        map[i] = known.names[i] ? keyword_place(&f->keywords, i, known.names[i]) : i;
        moved = moved || map[i] != i;
    }
    if (r == 0)
        r = keyword_text(&f->keywords, &now);
    f->keywords.changed = now.len != text.len || (now.len && memcmp(now.data, text.data, now.len) != 0);
    keyword_finish(&known);
    return r == 0 && moved ? map_rows(s, f, map) : r;
}

int sync_folder_keywords(struct sync_folder *f, const struct maildir *m) {
    cleanup(buf) struct buf text = {0};
    if (!f->keywords.changed)
        return 0;
    int r = keyword_text(&f->keywords, &text);
    return r < 0 ? r : file_write_atomic(m->folder, KEYWORD_FILE, text.data ? text.data : "", text.len, 0600);
}

int sync_folder_open(struct sync *s, struct sync_folder *f, struct maildir *ret) {
    cleanup(maildir) struct maildir m = MAILDIR_INIT;
    struct pass p = {.sync = s, .folder = f};
    struct stat st;
    bool made = false;
    /* A folder that was copied and is gone was removed by a reader, but for those that cannot be. */
    bool make = ((f->row.uidvalidity == 0 && !f->born_here) || f->use != FOLDER_USE_NONE) &&
                !name_is_away(f->directory);
    int r = maildir_open(s->store.root, f->directory, make, &made, &m);
    if (r != 0)
        return r;
    m.hash = f->row.hash;
    m.uidvalidity = f->row.uidvalidity;
    if (fstat(m.cur, &st) == 0)
        f->row.inode = st.st_ino;
    if (made && f->row.uidvalidity != 0) {
        log_warning("a mail folder was removed from the vault: copying it again");
        r = state_want(s->state, f->row.id, 0, true);
    }
    watch_add(&s->watch, m.cur, WATCH_CUR, f->row.id);
    watch_add(&s->watch, m.fresh, WATCH_NEW, f->row.id);
    watch_add(&s->watch, m.folder, WATCH_TREE, 0);
    if (r == 0 && !f->opened) {
        f->hints.scan = true;
        r = maildir_clean(&m, part_is_wanted, &p);
    }
    if (r == 0) /* also later: a reader may have added one */
        r = open_keywords(s, f, &m);
    if (r < 0)
        return r;
    f->opened = true;
    *ret = m;
    m = (struct maildir)MAILDIR_INIT;
    return 0;
}

/* -- gathering ------------------------------------------------------------------------------------------ */

static int by_uid(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* The rows of the messages where something happened. */
static int gather_rows(struct pass *p) {
    const struct maildir_list *list = &p->local.list;
    size_t most = list->n + p->local.n_gone + p->remote.n + p->remote.n_gone, n = 0;
    cleanup(free) uint32_t *uids = calloc(most + 1, sizeof *uids);
    p->base = calloc(most + 1, sizeof *p->base);
    if (!uids || !p->base)
        return err_set(ERR_SYSTEM, "out of memory");
    for (size_t i = 0; i < list->n; i++)
        uids[n++] = list->items[i].uid;
    for (size_t i = 0; i < p->local.n_gone; i++)
        uids[n++] = p->local.gone[i];
    for (size_t i = 0; i < p->remote.n; i++)
        uids[n++] = p->remote.items[i].uid;
    for (size_t i = 0; i < p->remote.n_gone; i++)
        uids[n++] = p->remote.gone[i];
    qsort(uids, n, sizeof *uids, by_uid);
    for (size_t i = 0; i < n; i++) {
        struct state_message row = {0};
        if (i > 0 && uids[i] == uids[i - 1])
            continue;
        int r = state_message_get(p->sync->state, p->folder->row.id, uids[i], &row);
        if (r < 0)
            return r;
        if (r == 0)
            p->base[p->n_base++] = (struct plan_base){.uid = row.uid,
                                                      .flags = row.flags,
                                                      .local = row.local,
                                                      .seconds = row.seconds,
                                                      .kind = row.kind};
    }
    return 0;
}

static bool is_among(const uint32_t *uids, size_t n, uint32_t uid) {
    return n && bsearch(&uid, uids, n, sizeof *uids, by_uid);
}

/* The files: what is known of them, and over it what changed. */
static int gather_files(struct pass *p) {
    const struct maildir_list *list = &p->local.list;
    p->files = calloc(p->n_base + list->n + 1, sizeof *p->files);
    if (!p->files)
        return err_set(ERR_SYSTEM, "out of memory");
    for (size_t b = 0, l = 0; b < p->n_base || l < list->n;) {
        const struct plan_base *row = b < p->n_base ? &p->base[b] : NULL;
        const struct plan_local *news = l < list->n ? &list->items[l] : NULL;
        if (news && (!row || news->uid <= row->uid)) {
            b += row && row->uid == news->uid;
            l++;
            p->files[p->n_files++] = *news;
            continue;
        }
        b++;
        if (row && row->kind == PLAN_HAVE && !is_among(p->local.gone, p->local.n_gone, row->uid))
            p->files[p->n_files++] =
                (struct plan_local){.uid = row->uid, .flags = row->local, .seconds = row->seconds};
    }
    return 0;
}

/* The server's side, likewise. */
static int gather_there(struct pass *p) {
    if (p->remote.whole)
        return 0;
    p->there = calloc(p->n_base + p->remote.n + 1, sizeof *p->there);
    if (!p->there)
        return err_set(ERR_SYSTEM, "out of memory");
    for (size_t b = 0, m = 0; b < p->n_base || m < p->remote.n;) {
        const struct plan_base *row = b < p->n_base ? &p->base[b] : NULL;
        const struct plan_remote *news = m < p->remote.n ? &p->remote.items[m] : NULL;
        if (news && (!row || news->uid <= row->uid)) {
            b += row && row->uid == news->uid;
            m++;
            p->there[p->n_there++] = *news;
            continue;
        }
        b++;
        if (row && !is_among(p->remote.gone, p->remote.n_gone, row->uid))
            p->there[p->n_there++] =
                (struct plan_remote){.uid = row->uid, .flags = row->flags, .seconds = row->seconds};
    }
    return 0;
}

static int pass_gather(struct pass *p) {
    bool all = p->remote.whole || p->folder->all;
    int r = all ? state_messages(p->sync->state, p->folder->row.id, &p->base, &p->n_base) : gather_rows(p);
    if (r == 0)
        r = gather_files(p);
    return r < 0 ? r : gather_there(p);
}

/* -- planning ------------------------------------------------------------------------------------------- */

static int pass_want(void *ctx, const struct plan_action *a) {
    struct pass *p = ctx;
    struct state_message row = {0};
    int r = state_message_get(p->sync->state, p->folder->row.id, a->uid, &row);
    if (r < 0)
        return r;
    enum plan_message kind = a->kind == PLAN_LEAVE ? PLAN_OLD : PLAN_WANTED;
    if (r == 0 && row.kind == kind && (row.seconds || !a->seconds))
        return state_message_flags(p->sync->state, p->folder->row.id, a->uid, a->flags, a->flags);
    p->folder->fetch_below = UINT32_MAX;
    return state_message_put(p->sync->state, p->folder->row.id,
                             &(struct state_message){.uid = a->uid,
                                                     .kind = kind,
                                                     .flags = a->flags,
                                                     .local = a->flags,
                                                     .seconds = a->seconds,
                                                     .part = -1});
}

static int pass_plan(struct pass *p) {
    const struct imap_session *imap = p->sync->imap;
    struct plan_input in = {.base = p->base,
                            .n_base = p->n_base,
                            .local = p->files,
                            .n_local = p->n_files,
                            .remote = p->remote.whole ? p->remote.items : p->there,
                            .n_remote = p->remote.whole ? p->remote.n : p->n_there,
                            .remote_complete = !p->remote.whole || p->remote.complete,
                            .local_complete = p->local.complete,
                            .read_only = imap->read_only,
                            .permanent = keyword_mask(&p->folder->keywords, imap),
                            .keep_since = age_since(p->sync)};
    if (!in.local_complete)
        sync_folder_problem(p->folder, "the folder is being changed; removals are looked at again later");
    p->complete = p->complete && in.remote_complete && in.local_complete;
    return plan_make(&in, pass_want, p, &p->plan);
}

static size_t count_entries(const struct buf *entries) {
    size_t n = 0;
    for (size_t at = 0; at < entries->len; at += strlen(entries->data + at) + 1)
        n++;
    return n;
}

/* How many of them are no messages that were moved. */
static size_t removals(const struct sync_folder *f, size_t expunges) {
    return expunges - (expunges < f->moved_out ? expunges : f->moved_out);
}

/* Whether so much was deleted on one side at once that a person has to say that it was meant. Then `asks` is
 * set. */
static int pass_guard(struct pass *p) {
    struct sync_folder *f = p->folder;
    struct state_counts counts = {0};
    int64_t now = clock_boot_ms();
    size_t stale = count_entries(&p->local.list.stale), removed = removals(f, p->plan.expunges);
    int r = state_counts_of(p->sync->state, f->row.id, &counts);
    if (r < 0)
        return r;
    if (f->window_at == 0 || now - f->window_at > WINDOW_MS) {
        f->window_at = now;
        f->window_base = f->window_n = 0;
    }
    if (f->window_base < (size_t)counts.have + f->window_n)
        f->window_base = (size_t)counts.have + f->window_n;
    bool here = plan_is_suspicious(f->window_n + removed, f->window_base) && removed > 0;
    bool there = plan_is_suspicious(p->plan.unlinks + stale, (size_t)counts.have + stale);
    f->asks = (here || there) && !p->sync->confirmed;
    if (f->asks)
        sync_folder_problem(
            f,
            "%zu of %zu messages were deleted %s at once; nothing is done in this folder until "
            "`satchel sync --confirm-deletions`",
            here ? f->window_n + removed : p->plan.unlinks + stale,
            here ? f->window_base : (size_t)counts.have + stale, here ? "on this device" : "on the server");
    return 0;
}

/* -- files ---------------------------------------------------------------------------------------------- */

/* A file whose message left the server. It may have been edited without being noticed. */
static int unlink_or_detach(struct pass *p, const struct plan_local *item) {
    struct state_message row = {0};
    bool edited = false;
    int r = state_message_get(p->sync->state, p->folder->row.id, item->uid, &row);
    if (r == 0 && row.kind == PLAN_HAVE)
        r = maildir_is_edited(&p->maildir, &p->local.list.names, item, row.size, row.crc, &edited);
    else if (r == 1)
        r = 0;
    if (r != 0)
        return r;
    p->folder->again = p->folder->again || edited;
    return edited ? maildir_detach(&p->maildir, &p->local.list.names, item, &p->folder->foreign)
                  : maildir_unlink(&p->maildir, &p->local.list.names, item);
}

static int file_action(struct pass *p, const struct plan_action *a, const struct plan_local *item,
                       bool *renamed) {
    switch (a->kind) {
    case PLAN_FLAGS:
        if (a->local_flags == item->flags)
            return 0;
        *renamed = true;
        return maildir_set_flags(&p->maildir, &p->local.list.names, item, a->local_flags);
    case PLAN_UNLINK:
        return unlink_or_detach(p, item);
    case PLAN_STRAY:
        return maildir_unlink(&p->maildir, &p->local.list.names, item);
    case PLAN_DETACH:
        p->folder->again = p->folder->hints.scan = *renamed = true;
        return maildir_detach(&p->maildir, &p->local.list.names, item, &p->folder->foreign);
    default:
        return 0;
    }
}

/* Renames and removes files. An action whose file vanished waits for the next pass. */
static int pass_files(struct pass *p) {
    bool renamed = false;
    for (size_t i = 0; i < p->plan.n; i++) {
        struct plan_action *a = &p->plan.actions[i];
        if (a->local == UINT32_MAX)
            continue;
        int r = file_action(p, a, &p->files[a->local], &renamed);
        if (r < 0)
            return r;
        if (r == MAILDIR_VANISHED) {
            a->uid = 0;
            p->complete = false;
            p->folder->hints.scan = p->folder->dirty = true;
        }
    }
    /* Before the rows say so: a rename that is lost with the power would look like a reader's. */
    return renamed ? maildir_sync_dirs(&p->maildir) : 0;
}

/* What is left under another UIDVALIDITY after it was matched: the server has it no more. */
static int pass_stale(struct pass *p) {
    const struct buf *stale = &p->local.list.stale;
    for (size_t at = 0; at < stale->len; at += strlen(stale->data + at) + 1) {
        int r = match_drop(&p->maildir, stale->data + at, &p->folder->foreign);
        if (r < 0)
            return r;
    }
    return 0;
}

/* -- the server ----------------------------------------------------------------------------------------- */

/* A run of actions that one command carries out. */
struct run {
    unsigned command;
    size_t from, n;
};

struct group {
    struct plan_action **actions; /* owned */
    size_t n;
    struct run *runs; /* owned: one for each command */
    size_t n_runs;
};

static void group_cleanup(struct group *g) {
    free(g->actions);
    free(g->runs);
}

static int group_init(struct group *g, const struct pass *p) {
    g->actions = calloc(p->plan.n + 1, sizeof *g->actions);
    g->runs = calloc(p->plan.n + 1, sizeof *g->runs);
    return g->actions && g->runs ? 0 : err_set(ERR_SYSTEM, "out of memory");
}

/* Ends the oldest command; actions that the server refused are marked as not done. */
static int group_done(struct pass *p, struct group *g, const char *what) {
    struct imap_session *imap = p->sync->imap;
    int r = 0;
    do
        r = imap_next(imap, -1);
    while (r > 0 && r != IMAP_NEXT_DONE);
    if (r < 0)
        return r;
    mail_hook_step();
    if (imap->result == IMAP_OK)
        return 0;
    sync_folder_problem(p->folder, "the server refuses %s: %s", what, imap->text);
    p->complete = false;
    for (size_t i = 0; i < g->n_runs; i++)
        for (size_t k = 0; g->runs[i].command == imap->done && k < g->runs[i].n; k++)
            g->actions[g->runs[i].from + k]->uid = 0;
    return 0;
}

static int group_drain(struct pass *p, struct group *g, const char *what, unsigned left) {
    int r = 0;
    while (r == 0 && imap_open_commands(p->sync->imap) > left)
        r = group_done(p, g, what);
    return r;
}

/* Sends a command of `before` UIDs `after` for the actions from..from+n. */
static int group_send(struct pass *p, struct group *g, size_t from, size_t n, const char *before,
                      const char *after, const char *what) {
    cleanup(free) uint32_t *uids = calloc(n + 1, sizeof *uids);
    int r = 0;
    if (!uids)
        return err_set(ERR_SYSTEM, "out of memory");
    for (size_t i = 0; i < n; i++)
        uids[i] = g->actions[from + i]->uid;
    for (size_t at = 0, used = 0; r == 0 && at < n; at += used) {
        cleanup(buf) struct buf set = {0};
        r = group_drain(p, g, what, 8);
        if (r == 0)
            r = uidset_write(uids + at, n - at, FOLDER_SET_MAX, &set, &used);
        if (r == 0)
            r = imap_send(p->sync->imap, "%s %s%s", before, set.data, after);
        if (r == 0)
            g->runs[g->n_runs++] = (struct run){.command = p->sync->imap->sent, .from = from + at, .n = used};
    }
    return r;
}

static int by_add(const void *a, const void *b) {
    const struct plan_action *x = *(struct plan_action *const *)a, *y = *(struct plan_action *const *)b;
    return x->add != y->add ? (x->add < y->add ? -1 : 1) : by_uid(&x->uid, &y->uid);
}

static int by_remove(const void *a, const void *b) {
    const struct plan_action *x = *(struct plan_action *const *)a, *y = *(struct plan_action *const *)b;
    return x->remove != y->remove ? (x->remove < y->remove ? -1 : 1) : by_uid(&x->uid, &y->uid);
}

/* Sends the flag changes of one direction, grouped by what is to be changed. */
static int store_flags(struct pass *p, bool remove) {
    cleanup(group) struct group g = {0};
    int r = group_init(&g, p);
    for (size_t i = 0; r == 0 && i < p->plan.n; i++) {
        struct plan_action *a = &p->plan.actions[i];
        if (a->kind == PLAN_FLAGS && a->uid != 0 && (remove ? a->remove : a->add))
            g.actions[g.n++] = a;
    }
    if (r == 0 && g.n > 1)
        qsort(g.actions, g.n, sizeof(void *), remove ? by_remove : by_add);
    for (size_t from = 0, n; r == 0 && from < g.n; from += n) {
        cleanup(buf) struct buf after = {0};
        uint32_t flags = remove ? g.actions[from]->remove : g.actions[from]->add;
        for (n = 1; from + n < g.n; n++)
            if ((remove ? g.actions[from + n]->remove : g.actions[from + n]->add) != flags)
                break;
        r = buf_printf(&after, " %cFLAGS.SILENT (", remove ? '-' : '+');
        if (r == 0)
            r = keyword_write(&p->folder->keywords, flags, &after);
        if (r == 0)
            r = buf_add_str(&after, ")");
        if (r == 0)
            r = group_send(p, &g, from, n, "UID STORE", after.data, "flag changes");
    }
    return r < 0 ? r : group_drain(p, &g, "flag changes", 0);
}

/* Holds back the removal of messages that readers have moved elsewhere, and whose new place is not up yet. */
static int hold_moves(struct pass *p, struct group *g) {
    cleanup(free) uint32_t *uids = calloc(g->n + 1, sizeof *uids);
    cleanup(free) bool *held = calloc(g->n + 1, sizeof *held);
    size_t kept = 0;
    if (!uids || !held)
        return err_set(ERR_SYSTEM, "out of memory");
    for (size_t i = 0; i < g->n; i++)
        uids[i] = g->actions[i]->uid;
    bool waits = false; /* for an upload that can be tried at once */
    for (size_t i = 0; i < p->sync->folders->n; i++)
        waits = waits || upload_due(p->sync->folders->items[i]);
    int r = moved_find(p->sync, p->folder, uids, g->n, held);
    for (size_t i = 0; r == 0 && i < g->n; i++) {
        if (!held[i]) {
            g->actions[kept++] = g->actions[i];
            continue;
        }
        g->actions[i]->uid = 0;
        p->complete = false;
        p->folder->hints.scan = true;
        p->folder->again = p->folder->again || waits;
        sync_folder_problem(p->folder,
                            "messages that were moved stay on the server until their new place is up");
    }
    g->n = r == 0 ? kept : 0;
    return r;
}

/* Removes on the server what a reader removed here: \Deleted, and where the server can expunge single
 * messages, that. */
static int pass_expunge(struct pass *p) {
    cleanup(group) struct group g = {0};
    int r = group_init(&g, p);
    for (size_t i = 0; r == 0 && i < p->plan.n; i++)
        if (p->plan.actions[i].kind == PLAN_EXPUNGE)
            g.actions[g.n++] = &p->plan.actions[i];
    if (r < 0 || g.n == 0)
        return r;
    r = store_check(&p->sync->store); /* never mistake a vault that is being closed for removed mail */
    if (r == 0)
        r = hold_moves(p, &g);
    if (r == 0)
        r = group_send(p, &g, 0, g.n, "UID STORE", " +FLAGS.SILENT (\\Deleted)", "to remove messages");
    if (r == 0)
        r = group_drain(p, &g, "to remove messages", 0);
    size_t n = 0;
    for (size_t i = 0; i < g.n; i++)
        if (g.actions[i]->uid != 0)
            g.actions[n++] = g.actions[i];
    g.n = n;
    g.n_runs = 0;
    if (r == 0 && n > 0 && p->sync->imap->capabilities & IMAP_CAP_UIDPLUS)
        r = group_send(p, &g, 0, n, "UID EXPUNGE", "", "to remove messages");
    return r < 0 ? r : group_drain(p, &g, "to remove messages", 0);
}

/* -- the end -------------------------------------------------------------------------------------------- */

static int commit_action(struct pass *p, const struct plan_action *a) {
    struct state *state = p->sync->state;
    int64_t folder = p->folder->row.id;
    int r = 0;
    switch (a->kind) {
    case PLAN_FLAGS:
        r = state_message_kind(state, folder, a->uid, PLAN_HAVE);
        return r < 0 ? r : state_message_flags(state, folder, a->uid, a->flags, a->local_flags);
    case PLAN_EXPUNGE:
        if (p->sync->imap->capabilities & IMAP_CAP_UIDPLUS)
            return state_message_remove(state, folder, a->uid);
        r = state_message_kind(state, folder, a->uid, PLAN_GONE);
        return r < 0 ? r : state_message_flags(state, folder, a->uid, IMAP_DELETED, IMAP_DELETED);
    case PLAN_UNLINK:
    case PLAN_FORGET:
        return state_message_remove(state, folder, a->uid);
    default:
        return 0;
    }
}

/* Writes down what both sides have now agreed on, and what SELECT said with it: only when nothing was left
 * out. */
static int pass_commit(struct pass *p) {
    struct sync_folder *f = p->folder;
    struct state_folder row = f->row;
    int64_t left = 0;
    size_t expunged = 0;
    bool changed = false;
    int r = 0;
    for (size_t i = 0; r == 0 && i < p->plan.n; i++) {
        const struct plan_action *a = &p->plan.actions[i];
        bool up = a->kind == PLAN_EXPUNGE || (a->kind == PLAN_FLAGS && (a->add || a->remove));
        left += up && a->uid == 0;
        changed = changed || (up && a->uid != 0);
        expunged += a->kind == PLAN_EXPUNGE && a->uid != 0;
        if (a->uid != 0)
            r = commit_action(p, a);
    }
    row.uidvalidity = p->remote.row.uidvalidity;
    if (p->complete) {
        row = p->remote.row;
    } else {
        row.uidnext = row.messages = 0; /* STATUS then always differs */
        f->dirty = true;
        f->hints.scan = f->hints.scan || left > 0; /* what was not done is found again */
    }
    if (r == 0 && f->keywords.changed)
        r = state_keywords_put(p->sync->state, f->row.id, &f->keywords);
    if (r == 0)
        r = state_folder_put(p->sync->state, &row);
    if (r == 0)
        r = state_commit(p->sync->state);
    if (r < 0)
        return r;
    mail_hook_step();
    f->keywords.changed = f->born_here = false;
    f->window_n += removals(f, expunged);
    f->moved_out = 0;
    f->row = row;
    f->pending = left;
    f->again =
        f->again || (changed && row.modseq); /* to know what the mailbox looks like after our own changes */
    return state_counts_all(p->sync->state, &p->sync->counts);
}

/* The two sides, listed. A remote_result. */
static int pass_read(struct pass *p) {
    struct sync *s = p->sync;
    struct sync_folder *f = p->folder;
    int r = remote_read(s, f, &p->remote);
    if (r == REMOTE_NEW) {
        p->maildir.uidvalidity = p->remote.row.uidvalidity;
        f->first = f->row.uidvalidity == 0;
        f->hints.scan = true;
        f->fetch_below = f->large_below = UINT32_MAX;
        r = match_folder(s, f, &p->maildir, p->remote.row.uidvalidity);
        if (r == 0)
            r = remote_read_all(s, f, &p->remote);
    }
    return r != 0 ? r : local_take(s, f, &p->maildir, &p->local);
}

/* What both sides need, done and written down, within one transaction. */
static int pass_do(struct pass *p) {
    struct sync_folder *f = p->folder;
    int r = pass_gather(p);
    if (r == 0)
        r = pass_plan(p);
    if (r == 0)
        r = pass_guard(p);
    if (r < 0 || f->asks)
        return r;
    f->all = false;
    r = sync_folder_keywords(f, &p->maildir);
    if (r == 0)
        r = pass_stale(p);
    if (r == 0)
        r = pass_files(p);
    if (r == 0)
        r = store_flags(p, false);
    if (r == 0)
        r = store_flags(p, true);
    if (r == 0)
        r = pass_expunge(p);
    return r < 0 ? r : pass_commit(p);
}

/* Looks whether a new mailbox is really there before a directory is made for it, and remembers that. */
static int pass_begin(struct sync *s, struct sync_folder *f) {
    if (f->row.uidvalidity != 0 || f->born_here)
        return 0;
    s->selected = NULL;
    int r = imap_select(s->imap, f->quoted);
    if (r > 0)
        sync_folder_problem(f, "the server does not open the folder: %s", s->imap->text);
    if (r != 0)
        return r < 0 ? r : REMOTE_REFUSED;
    f->row.uidnext = FOLDER_MADE_HERE;
    return state_folder_put(s->state, &f->row);
}

int sync_folder_run(struct sync *s, struct sync_folder *f) {
    cleanup(pass) struct pass p = {.sync = s, .folder = f, .maildir = MAILDIR_INIT, .complete = true};
    f->problem[0] = '\0';
    f->dirty = f->again = f->told = false;
    int r = pass_begin(s, f);
    if (r == 0)
        r = sync_folder_open(s, f, &p.maildir);
    if (r == ERR_INVALID) {
        sync_folder_problem(f, "%s", err_text());
        r = REMOTE_REFUSED;
    }
    if (r == 0)
        r = pass_read(&p);
    if (r == 0)
        r = state_begin(s->state);
    if (r == 0)
        r = pass_do(&p);
    state_rollback(s->state); /* what was not committed */
    if (r != 0 || f->asks) {
        f->dirty = true;
        f->hints.scan =
            f->hints.scan || p.local.list.n || p.local.n_gone || p.local.list.stale.len || !p.local.complete;
    }
    return r < 0 ? r : 0;
}

int sync_folder_look(struct sync *s, struct sync_folder *f) {
    cleanup(maildir) struct maildir m = MAILDIR_INIT;
    cleanup(local) struct local local = {0};
    f->hints.scan = true;
    int r = sync_folder_open(s, f, &m);
    if (r == 0)
        r = local_take(s, f, &m, &local);
    f->dirty = f->hints.scan = true;
    if (r == 0)
        f->pending = (int64_t)(local.list.n + local.n_gone);
    return r == ERR_INVALID || r > 0 ? 0 : r; /* the next pass says what is in the way */
}
