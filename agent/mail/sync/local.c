#include "agent/mail/sync/local.h"
#include "agent/mail/sync/match.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"

#include <stdlib.h>
#include <string.h>

#define SCAN_TRIES 20
#define SCAN_PAUSE_MS 50

void hints_finish(struct hints *h) {
    free(h->items);
    buf_finish(&h->gone);
    *h = (struct hints){0};
}

void local_finish(struct local *l) {
    maildir_list_finish(&l->list);
    free(l->gone);
    *l = (struct local){0};
}

bool local_touched(const struct sync_folder *f) {
    return f->hints.scan || f->hints.n > 0 || f->hints.gone.len > 0;
}

/* -- events --------------------------------------------------------------------------------------------- */

static void hint_here(struct hints *h, uint32_t uid, struct plan_local item) {
    for (size_t i = h->n; i > 0; i--) { /* mostly the last one */
        if (h->items[i - 1].uid != uid)
            continue;
        item.edited = item.edited || h->items[i - 1].edited;
        h->items[i - 1] = item;
        return;
    }
    if (h->n == h->allocated) {
        size_t more = h->allocated ? h->allocated * 2 : 16;
        struct plan_local *grown =
            more > LOCAL_HINTS_MAX ? NULL : reallocarray(h->items, more, sizeof *grown);
        if (!grown) {
            h->scan = true;
            return;
        }
        h->items = grown;
        h->allocated = more;
    }
    h->items[h->n++] = item;
}

/* A file went. Only when it is the one that was there last, or none was. */
static void hint_gone(struct hints *h, uint32_t uid, uint32_t flags, enum maildir_place place) {
    for (size_t i = 0; i < h->n; i++) {
        if (h->items[i].uid != uid)
            continue;
        if (h->items[i].flags != flags || h->items[i].place != place)
            return; /* its old name; the new one came first */
        h->items[i] = h->items[--h->n];
        break;
    }
    if (h->gone.len >= LOCAL_HINTS_MAX * sizeof uid || buf_add(&h->gone, &uid, sizeof uid) < 0)
        h->scan = true;
}

static int hint_foreign(struct sync_folder *f, enum maildir_place place, const char *name, bool there) {
    if (!there || maildir_has_entry(&f->foreign, place, name))
        return 0;
    if (f->foreign.len > ((size_t)1 << 20)) { /* many: the directory tells as well */
        f->hints.scan = true;
        return 0;
    }
    return maildir_entry(&f->foreign, place, name);
}

int local_hint(struct sync_folder *f, const struct watch_event *event) {
    enum maildir_place place = event->what == WATCH_NEW ? MAILDIR_NEW : MAILDIR_CUR;
    struct name_message message;
    const char *suffix = NULL;
    bool odd = false;
    if (event->lost || !*event->name) {
        f->hints.scan = true;
        return 0;
    }
    if (event->name[0] == '.' || strlen(event->name) >= MAILDIR_NAME_MAX - 1)
        return 0;
    if (!name_parse(event->name, &message, &suffix) || message.hash != f->row.hash ||
        message.uidvalidity != f->row.uidvalidity)
        return hint_foreign(f, place, event->name, event->there);
    uint32_t flags = name_flags(suffix, &odd);
    if (place == MAILDIR_NEW ? *suffix != '\0' : odd) {
        f->hints.scan = true; /* a name that has to be kept as it is */
        return 0;
    }
    if (!event->there)
        hint_gone(&f->hints, message.uid, flags, place);
    else
        hint_here(&f->hints, message.uid,
                  (struct plan_local){.uid = message.uid,
                                      .flags = flags,
                                      .seconds = (uint32_t)message.seconds,
                                      .place = place,
                                      .edited = event->written && !f->first});
    return 0;
}

/* -- taking --------------------------------------------------------------------------------------------- */

/* A list of files beside the rows. */
struct compared {
    struct local *local;
    size_t at, kept;
    bool lacks; /* a message of the copy has no file in the list */
};

static int compare_lacks(void *ctx, const struct plan_base *row) {
    struct compared *c = ctx;
    const struct maildir_list *list = &c->local->list;
    while (c->at < list->n && list->items[c->at].uid < row->uid)
        c->at++;
    c->lacks =
        c->lacks || (row->kind == PLAN_HAVE && (c->at == list->n || list->items[c->at].uid != row->uid));
    return 0;
}

static int add_gone(struct local *l, uint32_t uid) {
    if (l->n_gone == l->allocated) {
        size_t more = l->allocated ? l->allocated * 2 : 64;
        uint32_t *grown = reallocarray(l->gone, more, sizeof *grown);
        if (!grown)
            return err_set(ERR_SYSTEM, "out of memory");
        l->gone = grown;
        l->allocated = more;
    }
    l->gone[l->n_gone++] = uid;
    return 0;
}

/* Keeps of the list what its row does not say, and collects the rows whose files went. */
static int compare_row(void *ctx, const struct plan_base *row) {
    struct compared *c = ctx;
    struct maildir_list *list = &c->local->list;
    while (c->at < list->n && list->items[c->at].uid < row->uid)
        list->items[c->kept++] = list->items[c->at++];
    if (c->at == list->n || list->items[c->at].uid != row->uid)
        return row->kind == PLAN_HAVE && list->steady ? add_gone(c->local, row->uid) : 0;
    const struct plan_local *item = &list->items[c->at++];
    if (row->kind != PLAN_HAVE || item->flags != row->local || item->edited)
        list->items[c->kept++] = *item;
    return 0;
}

static int local_compare(struct sync *s, const struct sync_folder *f, struct local *l) {
    struct compared c = {.local = l};
    int r = state_each(s->state, f->row.id, compare_row, &c);
    while (c.at < l->list.n)
        l->list.items[c.kept++] = l->list.items[c.at++];
    l->list.n = c.kept;
    l->complete = l->list.steady;
    return r;
}

/* A file that a reader renames while the directory is read can be missed; so where messages seem to be gone,
 * only a list that was made while nothing moved counts. */
static int local_scan(struct sync *s, const struct sync_folder *f, const struct maildir *m,
                      struct maildir_list *ret) {
    for (int i = 0;; i++) {
        cleanup(maildir_list) struct maildir_list list = {0};
        struct local seen = {0};
        struct compared c = {.local = &seen};
        int r = maildir_scan(m, &list);
        seen.list = list;
        if (r == 0 && !list.steady)
            r = state_each(s->state, f->row.id, compare_lacks, &c);
        if (r < 0)
            return r;
        if (list.steady || (!c.lacks && list.extra.len == 0) || i == SCAN_TRIES) {
            list.steady = list.steady || !c.lacks;
            *ret = list;
            list = (struct maildir_list){0};
            return 0;
        }
        r = sync_pause(s, SCAN_PAUSE_MS);
        if (r < 0)
            return r;
    }
}

/* Second files of a message become a reader's own. */
static int local_extras(struct sync_folder *f, const struct maildir *m, const struct maildir_list *list) {
    int r = 0;
    for (size_t at = 0; r >= 0 && list->steady && at < list->extra.len;
         at += strlen(list->extra.data + at) + 1)
        r = maildir_entry_detach(m, list->extra.data + at, &f->foreign);
    return r < 0 ? r : 0;
}

/* A file with the name of a message that is not in the copy, and another time than we give: the rest of a
 * download, when the server's message begins with it; else a reader's edit of a message whose row was lost.
 */
static int local_check_rest(struct sync *s, const struct sync_folder *f, const struct maildir *m,
                            struct plan_local *item) {
    struct content content = {0};
    bool rest = true;
    if (!s->imap || s->selected != f)
        return 0;
    int r = maildir_measure(m, item, &content);
    if (r == 0 && content.size > 0)
        r = match_verify(s, item->uid, content.size, content.crc, &rest);
    item->edited = r == 0 && !rest;
    return r < 0 ? r : 0;
}

/* Whether the text of a file with another time is another text. */
static int local_check(struct sync *s, const struct sync_folder *f, const struct maildir *m,
                       const struct buf *names, struct plan_local *item) {
    struct state_message row = {0};
    int r = state_message_get(s->state, f->row.id, item->uid, &row);
    if (r < 0)
        return r;
    if (r > 0 || row.kind != PLAN_HAVE)
        return local_check_rest(s, f, m, item);
    r = maildir_is_edited(m, names, item, row.size, row.crc, &item->edited);
    if (r == MAILDIR_VANISHED)
        item->edited = false;
    return r < 0 ? r : 0;
}

static int local_check_all(struct sync *s, const struct sync_folder *f, const struct maildir *m,
                           struct maildir_list *list) {
    int r = 0;
    for (size_t i = 0; r == 0 && i < list->n; i++)
        if (list->items[i].edited)
            r = local_check(s, f, m, &list->names, &list->items[i]);
    return r;
}

static int by_uid(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* Sorts, drops what came back or never was in the copy or is still there under its name. */
static int local_gone(struct sync *s, const struct sync_folder *f, const struct maildir *m, struct local *l) {
    size_t kept = 0;
    if (l->n_gone > 1)
        qsort(l->gone, l->n_gone, sizeof *l->gone, by_uid);
    for (size_t i = 0; i < l->n_gone; i++) {
        uint32_t uid = l->gone[i];
        struct state_message row = {0};
        if ((kept && l->gone[kept - 1] == uid) ||
            (l->list.n && bsearch(&uid, l->list.items, l->list.n, sizeof *l->list.items, by_uid)))
            continue;
        int r = state_message_get(s->state, f->row.id, uid, &row);
        if (r == 0 && row.kind == PLAN_HAVE)
            r = maildir_exists(m, NULL,
                               &(struct plan_local){.uid = uid, .flags = row.local, .seconds = row.seconds});
        if (r < 0)
            return r;
        if (r == MAILDIR_VANISHED && row.kind == PLAN_HAVE && row.uid == uid)
            l->gone[kept++] = uid;
    }
    l->n_gone = kept;
    return 0;
}

/* Items whose row says the same need no look. */
static int local_news(struct sync *s, const struct sync_folder *f, struct maildir_list *list) {
    size_t kept = 0;
    for (size_t i = 0; i < list->n; i++) {
        struct state_message row = {0};
        int r = state_message_get(s->state, f->row.id, list->items[i].uid, &row);
        if (r < 0)
            return r;
        bool known = r == 0 && row.kind == PLAN_HAVE && row.local == list->items[i].flags;
        if (!known || list->items[i].edited)
            list->items[kept++] = list->items[i];
    }
    list->n = kept;
    return 0;
}

void local_forget(struct sync *s, struct sync_folder *f) {
    struct maildir_list list = {.items = f->hints.items, .n = f->hints.n};
    if (!f->hints.scan && local_news(s, f, &list) == 0)
        f->hints.n = list.n;
}

static int local_from_hints(struct sync *s, struct sync_folder *f, const struct maildir *m, struct local *l) {
    struct hints *h = &f->hints;
    l->list.items = h->items;
    l->list.n = h->n;
    l->complete = true;
    l->gone = (uint32_t *)(void *)h->gone.data;
    l->n_gone = h->gone.len / sizeof *l->gone;
    h->gone.data = NULL;
    *h = (struct hints){0};
    if (l->list.n > 1)
        qsort(l->list.items, l->list.n, sizeof *l->list.items, by_uid);
    int r = local_check_all(s, f, m, &l->list);
    if (r == 0)
        r = local_gone(s, f, m, l);
    return r < 0 ? r : local_news(s, f, &l->list);
}

int local_foreign(struct sync *s, struct sync_folder *f) {
    cleanup(maildir) struct maildir m = MAILDIR_INIT;
    if (f->row.uidvalidity == 0 || (f->opened && !f->hints.scan))
        return 0;
    int r = sync_folder_open(s, f, &m);
    if (r == 0)
        r = maildir_foreign(&m, &f->foreign);
    return r == ERR_INVALID || r > 0 ? 0 : r; /* its own pass says what is in the way */
}

int local_take(struct sync *s, struct sync_folder *f, const struct maildir *m, struct local *ret) {
    cleanup(local) struct local l = {0};
    int r;
    if (f->hints.scan || s->watch.blind) {
        hints_finish(&f->hints);
        r = local_scan(s, f, m, &l.list);
        if (r == 0) {
            buf_finish(&f->foreign);
            f->foreign = l.list.foreign;
            l.list.foreign = (struct buf){0};
            r = local_extras(f, m, &l.list);
        }
        if (r == 0)
            r = local_check_all(s, f, m, &l.list);
        if (r == 0)
            r = local_compare(s, f, &l);
    } else {
        r = local_from_hints(s, f, m, &l);
    }
    if (r < 0) {
        f->hints.scan = true;
        return r;
    }
    *ret = l;
    l = (struct local){0};
    return 0;
}
