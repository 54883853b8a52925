#include "agent/mail/sync/remote.h"
#include "agent/mail/imap/date.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/base/log.h"

#include <stdlib.h>
#include <string.h>

void remote_finish(struct remote *r) {
    free(r->items);
    free(r->gone);
    *r = (struct remote){0};
}

static int remote_add(struct remote *r, struct plan_remote item) {
    if (r->n == r->allocated) {
        size_t more = r->allocated ? r->allocated + r->allocated / 2 : 64;
        struct plan_remote *grown = more > REMOTE_MAX ? NULL : reallocarray(r->items, more, sizeof *grown);
        if (!grown)
            return err_set(ERR_TOO_LARGE, "a mail folder with too many messages");
        r->items = grown;
        r->allocated = more;
    }
    r->items[r->n++] = item;
    return 0;
}

static int by_uid(const void *a, const void *b) {
    uint32_t x = ((const struct plan_remote *)a)->uid, y = ((const struct plan_remote *)b)->uid;
    return x < y ? -1 : x > y;
}

/* Sorts, and of a UID told twice keeps one. */
static void remote_sort(struct remote *r) {
    size_t kept = 0;
    if (r->n > 1)
        qsort(r->items, r->n, sizeof *r->items, by_uid);
    for (size_t i = 0; i < r->n; i++)
        if (kept == 0 || r->items[kept - 1].uid != r->items[i].uid)
            r->items[kept++] = r->items[i];
    r->n = kept;
}

/* Takes in a FETCH response with UID and FLAGS. */
static int remote_fetched(struct sync *s, struct sync_folder *f, struct remote *r) {
    const struct imap_parser *p = &s->imap->parser;
    uint64_t number = 0, uid = 0;
    if (!imap_is_numbered(p, "FETCH", &number))
        return 0;
    const struct imap_node *id = imap_attribute(p, 2, "UID"), *flags = imap_attribute(p, 2, "FLAGS"),
                           *date = imap_attribute(p, 2, "INTERNALDATE");
    if (!id || !flags || !imap_node_number(p, id, &uid) || uid == 0 || uid > UINT32_MAX)
        return 0;
    int64_t seconds = 0;
    if (date && (imap_date_parse(imap_node_text(p, date), date->len, &seconds) < 0 || seconds < 0 ||
                 seconds > UINT32_MAX))
        seconds = 0;
    return remote_add(r, (struct plan_remote){.uid = (uint32_t)uid,
                                              .flags = keyword_flags(&f->keywords, p, flags),
                                              .seconds = (uint32_t)seconds});
}

/* Reads the answer of the open command; VANISHED goes to `vanished`, where it is not NULL. */
static int remote_answer(struct sync *s, struct sync_folder *f, struct remote *r, struct uidset *vanished) {
    int code = 0;
    while ((code = imap_next(s->imap, -1)) > 0 && code != IMAP_NEXT_DONE) {
        bool earlier = false;
        if (code != IMAP_NEXT_UNTAGGED)
            continue;
        code = vanished ? imap_vanished(&s->imap->parser, &earlier, vanished) : 0;
        if (code == 0)
            code = remote_fetched(s, f, r);
        if (code < 0)
            return code;
    }
    return code < 0 ? code : (int)s->imap->result;
}

int remote_read_all(struct sync *s, struct sync_folder *f, struct remote *r) {
    free(r->gone);
    r->gone = NULL;
    r->n = r->n_gone = 0;
    r->whole = true;
    r->complete = s->imap->exists == 0;
    if (r->complete)
        return 0;
    int code = imap_send(s->imap, "UID FETCH 1:* (UID FLAGS%s)", s->keep_days ? " INTERNALDATE" : "");
    if (code == 0)
        code = remote_answer(s, f, r, NULL);
    if (code < 0)
        return code;
    remote_sort(r);
    r->complete = code == IMAP_OK && r->n >= s->imap->exists;
    if (!r->complete && !s->imap->changed) /* changed: mail came in meanwhile, and the next pass sees it */
        sync_folder_problem(f, "the server did not list all messages: %s", s->imap->text);
    return 0;
}

/* Of what was told, how many have no row. */
static int count_new(struct sync *s, const struct sync_folder *f, const struct remote *r, uint64_t *ret) {
    uint64_t n = 0;
    for (size_t i = 0; i < r->n; i++) {
        struct state_message row = {0};
        int code = state_message_get(s->state, f->row.id, r->items[i].uid, &row);
        if (code < 0)
            return code;
        n += code == 1;
    }
    *ret = n;
    return 0;
}

/* The rows among the vanished UIDs. A message that was told as well is there. */
static int take_vanished(struct sync *s, const struct sync_folder *f, struct remote *r,
                         struct uidset *vanished) {
    size_t kept = 0;
    int code = 0;
    uidset_sort(vanished);
    for (size_t i = 0; code == 0 && i < vanished->n; i++)
        code = state_range(s->state, f->row.id, vanished->ranges[i], &r->gone, &r->n_gone);
    for (size_t i = 0; code == 0 && i < r->n_gone; i++)
        if (!r->n || !bsearch(&r->gone[i], r->items, r->n, sizeof *r->items, by_uid))
            r->gone[kept++] = r->gone[i];
    if (code == 0)
        r->n_gone = kept;
    return code;
}

/* Whether rows - gone + new is what the mailbox holds. */
static int adds_up(struct sync *s, const struct sync_folder *f, const struct remote *r, bool *ret) {
    struct state_counts counts = {0};
    uint64_t fresh = 0;
    int code = state_counts_of(s->state, f->row.id, &counts);
    if (code == 0)
        code = count_new(s, f, r, &fresh);
    if (code == 0)
        *ret = (uint64_t)counts.all + fresh - r->n_gone == r->row.messages;
    return code;
}

/* "* SEARCH 1 2 3", or "* ESEARCH (TAG "a1") UID ALL 1:3". */
static int search_answer(const struct imap_parser *p, struct uidset *found) {
    uint64_t number = 0;
    int code = 0;
    if (imap_node_is(p, &p->nodes[0], "SEARCH"))
        for (uint32_t i = 1; code == 0 && i < p->count; i++)
            if (imap_node_number(p, &p->nodes[i], &number) && number > 0 && number <= UINT32_MAX)
                code = uidset_add(found, (uint32_t)number, (uint32_t)number);
    if (!imap_node_is(p, &p->nodes[0], "ESEARCH"))
        return code;
    for (uint32_t i = 1; code == 0 && i + 1 < p->count; i++)
        if (imap_node_is(p, &p->nodes[i], "ALL"))
            code = uidset_read(imap_node_text(p, &p->nodes[i + 1]), p->nodes[i + 1].len, found);
    return code == ERR_INVALID ? 0 : code;
}

/* CONDSTORE tells no removals: the rows that a search for everything does not find are gone. */
static int search_gone(struct sync *s, const struct sync_folder *f, struct remote *r, bool *ret_good) {
    cleanup(uidset) struct uidset found = {0};
    struct uidset_range every = {1, UINT32_MAX};
    bool extended = s->imap->capabilities & IMAP_CAP_ESEARCH;
    int code = imap_send(s->imap, "UID SEARCH %sALL", extended ? "RETURN (ALL) " : "");
    while (code >= 0 && (code = imap_next(s->imap, -1)) > 0 && code != IMAP_NEXT_DONE)
        if (code == IMAP_NEXT_UNTAGGED)
            code = search_answer(&s->imap->parser, &found);
    if (code < 0)
        return code;
    uidset_sort(&found);
    if (s->imap->result != IMAP_OK || uidset_count(&found) != s->imap->exists)
        return 0; /* not good: everything is compared */
    r->n_gone = 0;
    code = state_range(s->state, f->row.id, every, &r->gone, &r->n_gone);
    size_t kept = 0;
    for (size_t i = 0; code == 0 && i < r->n_gone; i++)
        if (!uidset_has(&found, r->gone[i]))
            r->gone[kept++] = r->gone[i];
    if (code == 0) {
        r->n_gone = kept;
        *ret_good = true;
    }
    return code;
}

/* What CONDSTORE tells. */
static int read_condstore(struct sync *s, struct sync_folder *f, struct remote *r, bool *ret_good) {
    bool good = false;
    int code = 0;
    if (r->row.modseq != f->row.modseq || r->row.messages != f->row.messages ||
        r->row.uidnext != f->row.uidnext)
        code = imap_send(s->imap, "UID FETCH 1:* (UID FLAGS) (CHANGEDSINCE %llu)",
                         (unsigned long long)f->row.modseq);
    if (code == 0 && imap_open_commands(s->imap) > 0)
        code = remote_answer(s, f, r, NULL);
    if (code != 0)
        return code < 0 ? code : 0;
    remote_sort(r);
    code = adds_up(s, f, r, &good);
    if (code == 0 && !good) {
        code = search_gone(s, f, r, &good);
        if (code == 0 && good)
            code = adds_up(s, f, r, &good);
    }
    if (code == 0)
        *ret_good = good;
    return code;
}

/* INTERNALDATE of what has no row yet: whether it is kept depends on it. */
static int read_dates(struct sync *s, struct sync_folder *f, struct remote *r) {
    cleanup(free) uint32_t *uids = calloc(r->n + 1, sizeof *uids);
    cleanup(remote) struct remote dated = {0};
    size_t n = 0;
    int code = 0;
    if (!uids)
        return err_set(ERR_SYSTEM, "out of memory");
    for (size_t i = 0; code >= 0 && i < r->n; i++) {
        struct state_message row = {0};
        code = state_message_get(s->state, f->row.id, r->items[i].uid, &row);
        if (code == 1)
            uids[n++] = r->items[i].uid;
    }
    for (size_t at = 0, used = 0; code >= 0 && at < n; at += used) {
        cleanup(buf) struct buf set = {0};
        code = uidset_write(uids + at, n - at, FOLDER_SET_MAX, &set, &used);
        if (code == 0)
            code = imap_send(s->imap, "UID FETCH %s (UID FLAGS INTERNALDATE)", set.data);
        if (code == 0)
            code = remote_answer(s, f, &dated, NULL);
    }
    if (code < 0)
        return code;
    remote_sort(&dated);
    for (size_t i = 0; i < r->n && dated.n; i++) {
        const struct plan_remote *known = bsearch(&r->items[i], dated.items, dated.n, sizeof *known, by_uid);
        if (known)
            r->items[i].seconds = known->seconds;
    }
    return 0;
}

/* SELECT, taking in what comes with it. */
static int remote_select(struct sync *s, struct sync_folder *f, struct remote *r, struct uidset *vanished,
                         bool *ret_delta) {
    bool delta = f->row.uidvalidity && f->row.modseq && s->imap->enabled & IMAP_CAP_QRESYNC;
    s->selected = NULL;
    int code =
        imap_select_send(s->imap, f->quoted, delta ? f->row.uidvalidity : 0, delta ? f->row.modseq : 0);
    if (code == 0)
        code = remote_answer(s, f, r, vanished);
    if (code < 0)
        return code;
    if (code > 0 || s->imap->uidvalidity == 0) {
        sync_folder_problem(f, "the server does not open the folder: %s",
                            code > 0 ? s->imap->text : "no UIDVALIDITY");
        return REMOTE_REFUSED;
    }
    s->selected = f;
    remote_sort(r);
    r->row = f->row;
    r->row.uidvalidity = s->imap->uidvalidity;
    r->row.uidnext = s->imap->uidnext;
    r->row.modseq = s->imap->no_modseq ? 0 : s->imap->modseq;
    r->row.messages = s->imap->exists;
    r->row.object = s->imap->object;
    *ret_delta = delta && r->row.modseq >= f->row.modseq;
    return r->row.uidvalidity != f->row.uidvalidity ? REMOTE_NEW : REMOTE_OK;
}

int remote_read(struct sync *s, struct sync_folder *f, struct remote *ret) {
    cleanup(remote) struct remote r = {0};
    cleanup(uidset) struct uidset vanished = {0};
    bool delta = false, good = false;
    int code = remote_select(s, f, &r, &vanished, &delta);
    if (code == REMOTE_OK && delta) {
        code = take_vanished(s, f, &r, &vanished);
        if (code == 0)
            code = adds_up(s, f, &r, &good);
        if (code == 0 && !good)
            log_info("the server's list of changes does not add up: comparing the whole folder");
    } else if (code == REMOTE_OK && f->row.modseq && r.row.modseq >= f->row.modseq &&
               s->imap->enabled & IMAP_CAP_CONDSTORE) {
        code = read_condstore(s, f, &r, &good);
    }
    if (code == REMOTE_OK && good && s->keep_days)
        code = read_dates(s, f, &r);
    if (code == REMOTE_OK && !good)
        code = remote_read_all(s, f, &r);
    if (code < 0 || code == REMOTE_REFUSED)
        return code;
    *ret = r;
    r = (struct remote){0};
    return code;
}
