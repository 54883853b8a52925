#include "agent/mail/sync/folder.h"
#include "agent/mail/imap/date.h"
#include "agent/mail/imap/uidset.h"
#include "agent/mail/sync/moved.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/base/log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SET_MAX 4000       /* bytes of a UID set in one command */
#define REMOTE_MAX 8000000 /* messages of one mailbox */
#define SCAN_TRIES 20
#define SCAN_PAUSE_MS 50

/* What one pass over a folder gathers. */
struct pass {
    struct maildir maildir;
    struct plan_base *base; /* owned */
    size_t n_base;
    struct maildir_list local;
    struct plan_remote *remote; /* owned */
    size_t n_remote, allocated;
    bool remote_complete;
    struct plan plan;
    uint32_t exists, uidnext; /* as SELECT said */
    uint64_t modseq;
    bool first;    /* nothing of this mailbox was in the copy */
    bool complete; /* nothing is left to do */
};

static void pass_cleanup(struct pass *p) {
    maildir_close(&p->maildir);
    free(p->base);
    maildir_list_finish(&p->local);
    free(p->remote);
    plan_finish(&p->plan);
}

void sync_folder_destroy(struct sync_folder *f) {
    if (!f)
        return;
    free(f->mailbox);
    free(f->quoted);
    free(f->directory);
    free(f);
}

int sync_pause(const struct sync *s, int ms) {
    struct pollfd p = {.fd = s->cancel, .events = POLLIN};
    int n = poll(&p, 1, ms);
    if (n < 0 && errno != EINTR)
        return err_errno("cannot wait");
    return n > 0 ? err_set(ERR_CANCELED, "canceled") : 0;
}

__attribute__((format(printf, 3, 4))) static void folder_problem(struct pass *p, struct sync_folder *f,
                                                                 const char *fmt, ...) {
    p->complete = false;
    if (*f->problem) /* the first one is the cause */
        return;
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(f->problem, sizeof f->problem, fmt, args);
    va_end(args);
}

/* A whole change of the database, or nothing. */
static int folder_reset(struct sync *s, struct sync_folder *f, uint32_t uidvalidity) {
    int r = state_begin(s->state);
    if (r == 0)
        r = state_folder_reset(s->state, f->row.id, uidvalidity);
    if (r < 0) {
        state_rollback(s->state);
        return r;
    }
    r = state_commit(s->state);
    if (r < 0)
        return r;
    f->row = (struct state_folder){.id = f->row.id, .uidvalidity = uidvalidity};
    return state_count(s->state, &s->done);
}

static int pass_open(struct sync *s, struct sync_folder *f, struct pass *p) {
    bool made = false;
    int r = maildir_open(s->store.root, f->directory, &made, &p->maildir);
    if (r < 0)
        return r;
    watch_add(&s->watch, p->maildir.cur, f->row.id);
    watch_add(&s->watch, p->maildir.fresh, f->row.id);
    if (made && f->row.uidvalidity != 0) {
        log_warning("a mail folder was removed from the vault: copying it again");
        r = folder_reset(s, f, 0);
    }
    if (r == 0 && !f->cleaned)
        r = maildir_clean(&p->maildir);
    f->cleaned = r == 0;
    return r;
}

/* SELECT, and the check of UIDVALIDITY. 1: the mailbox cannot be synced now. */
static int pass_select(struct sync *s, struct sync_folder *f, struct pass *p) {
    s->selected = NULL;
    int r = imap_select(s->imap, f->quoted);
    if (r < 0)
        return r;
    if (r > 0 || s->imap->uidvalidity == 0) {
        folder_problem(p, f, "the server does not open the folder: %s",
                       r > 0 ? s->imap->text : "no UIDVALIDITY");
        return 1;
    }
    s->selected = f;
    p->exists = s->imap->exists;
    p->uidnext = s->imap->uidnext;
    p->modseq = s->imap->modseq;
    p->first = f->row.uidvalidity == 0;
    if (f->row.uidvalidity == s->imap->uidvalidity)
        return 0;
    if (f->row.uidvalidity != 0)
        log_warning(
            "the server made a mail folder anew: copying it again, local flag changes in it are lost");
    p->first = true;
    return folder_reset(s, f, s->imap->uidvalidity);
}

static bool is_missing_locally(const struct pass *p) {
    size_t l = 0;
    for (size_t b = 0; b < p->n_base; b++) {
        while (l < p->local.n && p->local.items[l].uid < p->base[b].uid)
            l++;
        if (!p->base[b].gone && (l == p->local.n || p->local.items[l].uid != p->base[b].uid))
            return true;
    }
    return false;
}

/*
 * Lists the Maildir. A file that a reader renames while the directory is read can be missed; so where
 * messages seem to be gone, only a list that was made while nothing moved counts.
 */
static int pass_scan(struct sync *s, struct sync_folder *f, struct pass *p) {
    for (int i = 0; i < SCAN_TRIES; i++) {
        struct maildir_list list = {0};
        int r = maildir_scan(&p->maildir, f->hash, f->row.uidvalidity, &list);
        if (r < 0)
            return r;
        maildir_list_finish(&p->local);
        p->local = list;
        if (list.steady || !is_missing_locally(p))
            return maildir_remove_stale(&p->maildir, &p->local);
        r = sync_pause(s, SCAN_PAUSE_MS);
        if (r < 0)
            return r;
    }
    return 0;
}

static int remote_add(struct pass *p, uint32_t uid, unsigned flags) {
    if (p->n_remote == p->allocated) {
        size_t more = p->allocated ? p->allocated * 2 : 1024;
        struct plan_remote *grown = more > REMOTE_MAX ? NULL : reallocarray(p->remote, more, sizeof *grown);
        if (!grown)
            return err_set(ERR_TOO_LARGE, "a mail folder with too many messages");
        p->remote = grown;
        p->allocated = more;
    }
    p->remote[p->n_remote++] = (struct plan_remote){.uid = uid, .flags = (uint8_t)flags};
    return 0;
}

static int by_uid(const void *a, const void *b) {
    uint32_t x = ((const struct plan_remote *)a)->uid, y = ((const struct plan_remote *)b)->uid;
    return x < y ? -1 : x > y;
}

/* Sorts, and of a UID told twice keeps one. */
static void remote_sort(struct pass *p) {
    size_t kept = 0;
    if (p->n_remote > 1)
        qsort(p->remote, p->n_remote, sizeof *p->remote, by_uid);
    for (size_t i = 0; i < p->n_remote; i++)
        if (kept == 0 || p->remote[kept - 1].uid != p->remote[i].uid)
            p->remote[kept++] = p->remote[i];
    p->n_remote = kept;
}

/* UID and FLAGS of every message. Complete only where the count agrees with what the mailbox holds. */
static int pass_remote(struct sync *s, struct sync_folder *f, struct pass *p) {
    if (s->imap->exists == 0) {
        p->remote_complete = true;
        return 0;
    }
    int r = imap_send(s->imap, "UID FETCH 1:* (UID FLAGS)");
    while (r >= 0 && (r = imap_next(s->imap, -1)) > 0 && r != IMAP_NEXT_DONE) {
        const struct imap_parser *parser = &s->imap->parser;
        uint64_t number = 0, uid = 0;
        if (r != IMAP_NEXT_UNTAGGED || !imap_is_numbered(parser, "FETCH", &number))
            continue;
        const struct imap_node *id = imap_attribute(parser, 2, "UID"),
                               *flags = imap_attribute(parser, 2, "FLAGS");
        if (!id || !flags || !imap_node_number(parser, id, &uid) || uid == 0 || uid > UINT32_MAX)
            continue;
        r = remote_add(p, (uint32_t)uid, imap_flags(parser, flags));
    }
    if (r < 0)
        return r;
    remote_sort(p);
    p->remote_complete = s->imap->result == IMAP_OK && p->n_remote >= s->imap->exists;
    p->complete = p->complete && p->remote_complete;
    if (!p->remote_complete &&
        !s->imap->changed) /* changed: mail came in meanwhile, and the next pass sees it */
        folder_problem(p, f, "the server did not list all messages: %s", s->imap->text);
    return 0;
}

static int pass_plan(struct sync *s, struct sync_folder *f, struct pass *p) {
    struct plan_input in = {.base = p->base,
                            .n_base = p->n_base,
                            .local = p->local.items,
                            .n_local = p->local.n,
                            .remote = p->remote,
                            .n_remote = p->n_remote,
                            .remote_complete = p->remote_complete,
                            .local_complete = p->local.steady || !is_missing_locally(p),
                            .read_only = s->imap->read_only,
                            .permanent = (uint8_t)s->imap->permanent};
    int r = plan_make(&in, &p->plan);
    if (r < 0)
        return r;
    if (!in.local_complete)
        folder_problem(p, f, "the folder is being changed; removals are looked at again later");
    if (plan_is_suspicious(p->plan.expunges, p->n_base)) {
        folder_problem(p, f, "%zu of %zu messages were removed here at once; they are kept on the server",
                       p->plan.expunges, p->n_base);
        for (size_t i = 0; i < p->plan.n; i++)
            if (p->plan.actions[i].kind == PLAN_EXPUNGE)
                p->plan.actions[i].uid = 0; /* 0: not to be done */
    }
    f->pending = (int64_t)(p->plan.expunges + p->plan.changes);
    return 0;
}

/* Renames and removes files. An action whose file vanished waits for the next pass. */
static int pass_files(struct sync *s, struct sync_folder *f, struct pass *p) {
    (void)s;
    for (size_t i = 0; i < p->plan.n; i++) {
        struct plan_action *a = &p->plan.actions[i];
        const struct plan_local *item = a->local == UINT32_MAX ? NULL : &p->local.items[a->local];
        int r = 0;
        if (!item || a->uid == 0)
            continue;
        if (a->kind == PLAN_FLAGS && a->local_flags != item->flags)
            r = maildir_set_flags(&p->maildir, &p->local, item, a->local_flags);
        else if (a->kind == PLAN_UNLINK || a->kind == PLAN_STRAY)
            r = maildir_unlink(&p->maildir, &p->local, item);
        if (r < 0)
            return r;
        if (r == MAILDIR_VANISHED) {
            a->uid = 0;
            p->complete = false;
            f->dirty = true;
        }
    }
    return 0;
}

/* What the server refused is looked at again in the next pass. */
static void mark_not_done(struct plan_action **actions, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (actions[i])
            actions[i]->uid = 0;
}

/* STORE for the UIDs of `actions`; on NO they are marked as not done. */
static int store_flags(struct sync *s, struct sync_folder *f, struct pass *p, struct plan_action **actions,
                       size_t n, const char *sign, unsigned flags) {
    cleanup(buf) struct buf names = {0};
    cleanup(free) uint32_t *uids = calloc(n, sizeof *uids);
    if (!uids)
        return err_set(ERR_SYSTEM, "out of memory");
    for (size_t i = 0; i < n; i++)
        uids[i] = actions[i]->uid;
    int r = imap_flags_write(flags, &names);
    for (size_t at = 0, used = 0; r == 0 && at < n; at += used) {
        cleanup(buf) struct buf set = {0};
        r = uidset_write(uids + at, n - at, SET_MAX, &set, &used);
        if (r == 0)
            r = imap_command(s->imap, "UID STORE %s %sFLAGS.SILENT (%s)", set.data, sign, names.data);
        if (r > 0) {
            folder_problem(p, f, "the server refuses flag changes: %s", s->imap->text);
            mark_not_done(actions + at, used);
            r = 0;
        }
    }
    return r;
}

/* Sends the flag changes, grouped by what is to be changed. */
static int pass_store(struct sync *s, struct sync_folder *f, struct pass *p) {
    cleanup(free) struct plan_action **group = calloc(p->plan.n + 1, sizeof(void *));
    if (!group)
        return err_set(ERR_SYSTEM, "out of memory");
    for (unsigned change = 1; change < (IMAP_FLAGS_ALL + 1) * 2; change++) {
        unsigned flags = change & IMAP_FLAGS_ALL;
        bool remove = change > IMAP_FLAGS_ALL;
        size_t n = 0;
        for (size_t i = 0; i < p->plan.n && flags; i++) {
            struct plan_action *a = &p->plan.actions[i];
            if (a->kind == PLAN_FLAGS && a->uid != 0 && (remove ? a->remove : a->add) == flags)
                group[n++] = a;
        }
        int r = n ? store_flags(s, f, p, group, n, remove ? "-" : "+", flags) : 0;
        if (r < 0)
            return r;
    }
    return 0;
}

/* Takes out the actions that are not to be done; returns how many are left. */
static size_t drop_done(struct plan_action **group, size_t n) {
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (group[i]->uid != 0)
            group[kept++] = group[i];
    return kept;
}

/* Marks the removals that are moves as not to be done. */
static int pass_hold_moves(struct sync *s, struct sync_folder *f, struct pass *p, struct plan_action **group,
                           size_t n) {
    cleanup(free) uint32_t *uids = calloc(n, sizeof *uids);
    cleanup(free) bool *held = calloc(n, sizeof *held);
    if (!uids || !held)
        return err_set(ERR_SYSTEM, "out of memory");
    for (size_t i = 0; i < n; i++)
        uids[i] = group[i]->uid;
    int r = moved_find(s, f, uids, n, held);
    for (size_t i = 0; r == 0 && i < n; i++) {
        if (!held[i])
            continue;
        group[i]->uid = 0;
        folder_problem(p, f,
                       "messages were moved here to another folder; on the server they stay where they are");
    }
    return r;
}

/* UID EXPUNGE of exactly these (RFC 4315). An imap_result or negative. */
static int send_expunge(struct sync *s, struct plan_action **group, size_t n) {
    cleanup(free) uint32_t *uids = calloc(n + 1, sizeof *uids);
    int r = 0;
    if (!uids)
        return err_set(ERR_SYSTEM, "out of memory");
    for (size_t i = 0; i < n; i++)
        uids[i] = group[i]->uid;
    for (size_t at = 0, used = 0; r == 0 && at < n; at += used) {
        cleanup(buf) struct buf set = {0};
        r = uidset_write(uids + at, n - at, SET_MAX, &set, &used);
        if (r == 0)
            r = imap_command(s->imap, "UID EXPUNGE %s", set.data);
    }
    return r;
}

/* Removes on the server what a reader removed here: \Deleted, and where the server can expunge single
 * messages, that. */
static int pass_expunge(struct sync *s, struct sync_folder *f, struct pass *p) {
    cleanup(free) struct plan_action **group = calloc(p->plan.expunges + 1, sizeof(void *));
    size_t n = 0;
    if (!group)
        return err_set(ERR_SYSTEM, "out of memory");
    for (size_t i = 0; i < p->plan.n; i++)
        if (p->plan.actions[i].kind == PLAN_EXPUNGE && p->plan.actions[i].uid != 0)
            group[n++] = &p->plan.actions[i];
    if (n == 0)
        return 0;
    int r = store_check(&s->store); /* never mistake a vault that is being closed for removed mail */
    if (r == 0)
        r = pass_hold_moves(s, f, p, group, n);
    n = drop_done(group, n);
    if (r == 0 && n > 0)
        r = store_flags(s, f, p, group, n, "+", IMAP_DELETED);
    n = drop_done(group, n);
    if (r == 0 && n > 0 && (s->imap->capabilities & IMAP_CAP_UIDPLUS))
        r = send_expunge(s, group, n);
    if (r > 0) {
        folder_problem(p, f, "the server refuses to remove messages: %s", s->imap->text);
        mark_not_done(group, n);
        r = 0;
    }
    return r;
}

static int commit_action(struct sync *s, struct sync_folder *f, const struct plan_action *a) {
    switch (a->kind) {
    case PLAN_FLAGS:
        return state_message_put(s->state, f->row.id,
                                 &(struct plan_base){.uid = a->uid, .flags = a->base_flags});
    case PLAN_EXPUNGE:
        if (s->imap->capabilities & IMAP_CAP_UIDPLUS)
            return state_message_remove(s->state, f->row.id, a->uid);
        return state_message_put(s->state, f->row.id,
                                 &(struct plan_base){.uid = a->uid, .flags = IMAP_DELETED, .gone = true});
    case PLAN_UNLINK:
    case PLAN_FORGET:
        return state_message_remove(s->state, f->row.id, a->uid);
    default:
        return 0;
    }
}

/* Writes down what both sides have now agreed on. */
static int pass_commit(struct sync *s, struct sync_folder *f, struct pass *p) {
    int64_t left = 0, removed = 0;
    int r = state_begin(s->state);
    for (size_t i = 0; r == 0 && i < p->plan.n; i++) {
        const struct plan_action *a = &p->plan.actions[i];
        bool up = a->kind == PLAN_EXPUNGE || (a->kind == PLAN_FLAGS && (a->add || a->remove));
        left += up && a->uid == 0;
        removed +=
            a->uid != 0 && (a->kind == PLAN_UNLINK || a->kind == PLAN_FORGET || a->kind == PLAN_EXPUNGE);
        if (a->uid != 0)
            r = commit_action(s, f, a);
    }
    r = r == 0 ? state_commit(s->state) : r;
    if (r < 0) {
        state_rollback(s->state);
        return r;
    }
    f->pending = left;
    return removed ? state_count(s->state, &s->done) : 0;
}

static int compare_uids(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* Marks the UIDs of a SEARCH response that are among the sorted `uids`. */
static void mark_found(const struct imap_parser *parser, const uint32_t *uids, size_t n, bool *keep) {
    for (uint32_t i = 1; i < parser->count; i++) {
        uint64_t number = 0;
        if (!imap_node_number(parser, &parser->nodes[i], &number) || number > UINT32_MAX)
            continue;
        uint32_t uid = (uint32_t)number;
        const uint32_t *at = bsearch(&uid, uids, n, sizeof *uids, compare_uids);
        if (at)
            keep[at - uids] = true;
    }
}

/* Drops the UIDs that `keep_days` leaves out: the server searches by date. */
static int pass_filter(struct sync *s, uint32_t *uids, size_t *n) {
    char day[IMAP_DATE_SIZE];
    size_t kept = 0;
    cleanup(free) bool *keep = calloc(*n + 1, sizeof *keep);
    if (!keep)
        return err_set(ERR_SYSTEM, "out of memory");
    (void)imap_date_day(clock_real_ms() / 1000 - (int64_t)s->keep_days * 86400, day);
    for (size_t at = 0, used = 0; at < *n; at += used) {
        cleanup(buf) struct buf set = {0};
        int r = uidset_write(uids + at, *n - at, SET_MAX, &set, &used);
        if (r == 0)
            r = imap_send(s->imap, "UID SEARCH UID %s SINCE %s", set.data, day);
        while (r >= 0 && (r = imap_next(s->imap, -1)) > 0 && r != IMAP_NEXT_DONE)
            if (r == IMAP_NEXT_UNTAGGED &&
                imap_node_is(&s->imap->parser, &s->imap->parser.nodes[0], "SEARCH"))
                mark_found(&s->imap->parser, uids, *n, keep);
        if (r < 0)
            return r;
        if (s->imap->result != IMAP_OK)
            return err_set(ERR_PROTOCOL, "the mail server refuses to search by date: %s", s->imap->text);
    }
    for (size_t i = 0; i < *n; i++)
        if (keep[i])
            uids[kept++] = uids[i];
    *n = kept;
    return 0;
}

static int pass_download(struct sync *s, struct sync_folder *f, struct pass *p) {
    size_t n = 0;
    cleanup(free) uint32_t *uids = p->plan.downloads ? calloc(p->plan.downloads, sizeof *uids) : NULL;
    if (!uids)
        return p->plan.downloads ? err_set(ERR_SYSTEM, "out of memory") : 0;
    for (size_t i = 0; i < p->plan.n; i++)
        if (p->plan.actions[i].kind == PLAN_DOWNLOAD)
            uids[n++] = p->plan.actions[i].uid;
    if (s->keep_days > 0) {
        size_t all = n;
        int r = pass_filter(s, uids, &n);
        if (r < 0)
            return r;
        s->total -= (int64_t)(all - n);
    }
    return n ? sync_download(s, f, &p->maildir, uids, n, p->first ? MAILDIR_CUR : MAILDIR_NEW) : 0;
}

/* The quick check of the next STATUS rests on this: only after a pass that left nothing to do. */
static int pass_finish(struct sync *s, struct sync_folder *f, struct pass *p) {
    struct state_folder row = {.id = f->row.id, .uidvalidity = f->row.uidvalidity};
    bool whole = p->complete && !*f->problem;
    if (whole) {
        row.uidnext = p->uidnext;
        row.modseq = p->modseq;
        row.messages = p->exists;
    }
    f->dirty = f->dirty || !whole;
    int r = state_folder_put(s->state, &row);
    if (r == 0)
        f->row = row;
    return r;
}

int sync_folder_run(struct sync *s, struct sync_folder *f) {
    cleanup(pass) struct pass p = {.maildir = MAILDIR_INIT, .complete = true};
    f->problem[0] = '\0';
    f->dirty = f->touched = false;
    int r = pass_open(s, f, &p);
    if (r == ERR_INVALID) {
        folder_problem(&p, f, "%s", err_text());
        r = 1;
    }
    if (r == 0)
        r = pass_select(s, f, &p);
    if (r > 0) {
        f->dirty = true;
        return 0;
    }
    if (r == 0)
        r = state_messages(s->state, f->row.id, &p.base, &p.n_base);
    if (r == 0)
        r = pass_scan(s, f, &p);
    if (r == 0)
        r = pass_remote(s, f, &p);
    if (r == 0)
        r = pass_plan(s, f, &p);
    if (r == 0)
        r = pass_files(s, f, &p);
    if (r == 0)
        r = pass_store(s, f, &p);
    if (r == 0)
        r = pass_expunge(s, f, &p);
    if (r == 0)
        r = pass_commit(s, f, &p);
    if (r == 0)
        r = pass_download(s, f, &p);
    if (r == 0)
        r = pass_finish(s, f, &p);
    f->dirty = f->dirty || r < 0;
    f->cleaned = f->cleaned && r == 0;
    return r;
}

int sync_folder_count(struct sync *s, struct sync_folder *f) {
    cleanup(pass) struct pass p = {.maildir = MAILDIR_INIT};
    int64_t pending = 0;
    f->touched = false;
    int r = pass_open(s, f, &p);
    if (r == 0)
        r = state_messages(s->state, f->row.id, &p.base, &p.n_base);
    if (r == 0)
        r = pass_scan(s, f, &p);
    for (size_t b = 0, l = 0; r == 0 && b < p.n_base; b++) {
        while (l < p.local.n && p.local.items[l].uid < p.base[b].uid)
            l++;
        bool there = l < p.local.n && p.local.items[l].uid == p.base[b].uid;
        pending += !p.base[b].gone && (!there || p.local.items[l].flags != p.base[b].flags);
    }
    if (r == 0)
        f->pending = pending;
    return r == ERR_INVALID ? 0 : r; /* the next pass says what is in the way */
}
