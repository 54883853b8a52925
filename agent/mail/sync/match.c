#include "agent/mail/sync/match.h"
#include "agent/mail/imap/date.h"
#include "agent/mail/sync/hook.h"
#include "agent/mail/sync/list.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/base/log.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define HEADER "BODY[HEADER.FIELDS (MESSAGE-ID)]"
#define MATCH_MAX 2000000

static int compare(const void *a, const void *b) {
    const struct match_message *x = a, *y = b;
    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    if (x->size != y->size)
        return x->size < y->size ? -1 : 1;
    return x->uid < y->uid ? -1 : x->uid > y->uid;
}

/* One FETCH response; false: not usable. */
static bool read_message(struct sync *s, struct sync_folder *f, struct match_message *ret) {
    const struct imap_parser *p = &s->imap->parser;
    uint64_t number = 0;
    int64_t seconds = 0;
    if (!imap_is_numbered(p, "FETCH", &number))
        return false;
    const struct imap_node *uid = imap_attribute(p, 2, "UID"), *size = imap_attribute(p, 2, "RFC822.SIZE"),
                           *date = imap_attribute(p, 2, "INTERNALDATE"),
                           *flags = imap_attribute(p, 2, "FLAGS"), *header = imap_attribute(p, 2, HEADER);
    struct match_message m = {0};
    if (!uid || !size || !header || !imap_node_number(p, uid, &number) || number == 0 ||
        number > UINT32_MAX || !imap_node_number(p, size, &m.size))
        return false;
    m.uid = (uint32_t)number;
    if (date && imap_date_parse(imap_node_text(p, date), date->len, &seconds) == 0 && seconds <= UINT32_MAX)
        m.seconds = (uint32_t)seconds;
    m.flags = flags ? keyword_flags(&f->keywords, p, flags) : 0;
    m.id = header->type == IMAP_STRING ? content_id(imap_node_text(p, header), header->len) : 0;
    *ret = m;
    return true;
}

int match_list(struct sync *s, struct sync_folder *f, uint32_t first, struct match_message **ret,
               size_t *ret_n) {
    cleanup(free) struct match_message *list = NULL;
    size_t n = 0, allocated = 0;
    int r = s->imap->exists ? imap_send(s->imap,
                                        "UID FETCH %u:* (UID FLAGS RFC822.SIZE INTERNALDATE "
                                        "BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])",
                                        first ? first : 1)
                            : 0;
    while (s->imap->exists && r >= 0 && (r = imap_next(s->imap, -1)) > 0 && r != IMAP_NEXT_DONE) {
        struct match_message m = {0};
        if (r != IMAP_NEXT_UNTAGGED || !read_message(s, f, &m) || m.uid < first)
            continue;
        if (n == allocated) {
            size_t more = allocated ? allocated * 2 : 64;
            struct match_message *grown = more > MATCH_MAX ? NULL : reallocarray(list, more, sizeof *grown);
            if (!grown)
                return err_set(ERR_TOO_LARGE, "a mail folder with too many messages");
            list = grown;
            allocated = more;
        }
        list[n++] = m;
    }
    if (r < 0)
        return r;
    if (n > 1)
        qsort(list, n, sizeof *list, compare);
    *ret = steal(list);
    *ret_n = n;
    return 0;
}

int match_verify(struct sync *s, uint32_t uid, uint64_t n, uint32_t crc, bool *ret) {
    struct imap_session *imap = s->imap;
    uint64_t seen = 0;
    uint32_t sum = 0;
    bool body = false;
    int r = imap_send(imap, "UID FETCH %u (UID BODY.PEEK[])", uid);
    imap->stream = true;
    while (r >= 0 && (r = imap_next(imap, -1)) > 0 && r != IMAP_NEXT_DONE) {
        const struct imap_parser *p = &imap->parser;
        const char *data = r == IMAP_NEXT_DATA ? p->chunk : NULL;
        size_t len = r == IMAP_NEXT_DATA ? p->chunk_len : 0;
        uint64_t number = 0;
        if (r == IMAP_NEXT_UNTAGGED && imap_is_numbered(p, "FETCH", &number)) {
            const struct imap_node *text = imap_attribute(p, 2, "BODY[]");
            body = body || text;
            data = text && text->type == IMAP_STRING ? imap_node_text(p, text) : NULL;
            len = data ? text->len : 0;
        }
        size_t take = len < n - seen ? len : (size_t)(n - seen);
        sum = take ? content_crc(sum, data, take) : sum;
        seen += take;
    }
    imap->stream = false;
    if (r >= 0)
        *ret = body && sum == crc && (n == UINT64_MAX || seen == n);
    return r < 0 ? r : 0;
}

/* A message that is not taken, of that Message-ID and size, or of that size and date without one: the one
 * with that UID where there are several, else one of that date. */
static struct match_message *match_find(struct match_message *list, size_t n, uint64_t id, uint64_t size,
                                        uint32_t seconds, uint32_t uid) {
    size_t low = 0, high = n;
    struct match_message *dated = NULL, *other = NULL;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        bool before = list[middle].id != id ? list[middle].id < id : list[middle].size < size;
        low = before ? middle + 1 : low;
        high = before ? high : middle;
    }
    for (; low < n && list[low].id == id && list[low].size == size; low++) {
        if (list[low].taken)
            continue;
        if (list[low].uid == uid)
            return &list[low];
        if (list[low].seconds == seconds)
            dated = dated ? dated : &list[low];
        other = other ? other : &list[low];
    }
    return dated ? dated : id ? other : NULL;
}

/* A matching under way. */
struct match {
    struct sync *sync;
    struct sync_folder *folder;
    const struct maildir *maildir;
    struct plan_base *base; /* owned: what was known */
    size_t n_base;
    uint32_t old;               /* the UIDVALIDITY of it */
    struct match_message *list; /* owned */
    size_t n, found;
};

static void match_cleanup(struct match *m) {
    free(m->base);
    free(m->list);
}

static int by_uid(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* A file with a name of ours, of a mailbox that is not known any more: it may have been renamed when a crash
 * came. */
static bool match_is_orphan(const struct sync *s, const char *entry) {
    struct name_message name = {0};
    const char *suffix = NULL;
    if (!name_parse(entry + 1, &name, &suffix))
        return false;
    for (size_t i = 0; i < s->folders->n; i++)
        if (s->folders->items[i]->row.hash == name.hash &&
            s->folders->items[i]->row.uidvalidity == name.uidvalidity)
            return false;
    return true;
}

/* One file: its new name and row. */
static int match_entry(struct match *m, const char *entry) {
    cleanup(fd) int fd = -1;
    struct content content = {0};
    struct name_message name = {0};
    const char *suffix = "";
    struct stat st;
    bool ours = name_parse(entry + 1, &name, &suffix);
    if (!ours && strrchr(entry, ':'))
        suffix = strrchr(entry, ':');
    int r = maildir_entry_open(m->maildir, entry, &fd);
    if (r != 0 || fstat(fd, &st) != 0)
        return r == ERR_SYSTEM ? r : 0;
    r = content_measure(fd, &content);
    if (r < 0)
        return r;
    uint32_t seconds = ours ? (uint32_t)name.seconds : (uint32_t)st.st_mtim.tv_sec;
    uint32_t uid = ours && name.uidvalidity == m->maildir->uidvalidity ? name.uid : 0;
    struct match_message *found = match_find(m->list, m->n, content.id, content.size, seconds, uid);
    bool wire = !found;
    if (!found)
        found = match_find(m->list, m->n, content.id, content.wire_size, seconds, uid);
    bool same = found != NULL;
    /* A file that may have been edited: another text can have the same size. */
    if (found && (!ours || st.st_mtim.tv_sec != (time_t)seconds || st.st_mtim.tv_nsec != 0))
        r = match_verify(m->sync, found->uid, UINT64_MAX, wire ? content.wire_crc : content.crc, &same);
    if (r < 0 || !same)
        return r;
    uint32_t local = name_flags(suffix, NULL);
    struct plan_base *known = ours && name.uidvalidity == m->old && m->n_base
                                  ? bsearch(&name.uid, m->base, m->n_base, sizeof *m->base, by_uid)
                                  : NULL;
    r = maildir_entry_adopt(m->maildir, entry, &st.st_mtim, found->uid, found->seconds, local);
    if (r != 0)
        return r < 0 ? r : 0;
    found->taken = true;
    m->found++;
    /* Without knowing what was agreed on, the server is right. */
    return state_message_put(m->sync->state, m->folder->row.id,
                             &(struct state_message){.uid = found->uid,
                                                     .kind = PLAN_HAVE,
                                                     .flags = known ? known->flags : local,
                                                     .local = local,
                                                     .seconds = found->seconds,
                                                     .size = content.size,
                                                     .crc = content.crc,
                                                     .part = -1});
}

static int match_entries(struct match *m, const struct buf *entries, bool orphans) {
    int r = 0;
    for (size_t at = 0; r == 0 && at < entries->len; at += strlen(entries->data + at) + 1)
        if (!orphans || match_is_orphan(m->sync, entries->data + at))
            r = match_entry(m, entries->data + at);
    return r;
}

/* Where the server cannot expunge one message, what was removed here is there still, marked: it does not come
 * down again only because the folder has another name. */
static int match_removed(struct match *m) {
    int r = 0;
    for (size_t i = 0; r == 0 && i < m->n; i++)
        if (!m->list[i].taken && m->list[i].flags & IMAP_DELETED)
            r = state_message_put(m->sync->state, m->folder->row.id,
                                  &(struct state_message){.uid = m->list[i].uid,
                                                          .kind = PLAN_GONE,
                                                          .flags = IMAP_DELETED,
                                                          .local = IMAP_DELETED,
                                                          .seconds = m->list[i].seconds,
                                                          .part = -1});
    return r;
}

/* Files that were only touched get their time back, as long as their rows can tell. */
static int match_touched(struct match *m, const struct buf *entries) {
    int r = 0;
    for (size_t at = 0; r >= 0 && at < entries->len; at += strlen(entries->data + at) + 1) {
        struct name_message name = {0};
        struct state_message row = {0};
        const char *suffix = NULL;
        if (!name_parse(entries->data + at + 1, &name, &suffix) || name.uidvalidity != m->old)
            continue;
        r = state_message_get(m->sync->state, m->folder->row.id, name.uid, &row);
        if (r == 0 && row.kind == PLAN_HAVE)
            r = maildir_entry_settle(m->maildir, entries->data + at, (uint32_t)name.seconds, row.size,
                                     row.crc);
    }
    return r < 0 ? r : 0;
}

/* Within a transaction. */
static int match_all(struct match *m, uint32_t uidvalidity, const struct maildir_list *list) {
    int r = match_touched(m, &list->stale);
    if (r == 0)
        r = state_folder_reset(m->sync->state, m->folder->row.id, uidvalidity);
    if (r == 0)
        r = match_entries(m, &list->stale, false);
    if (r == 0)
        r = match_entries(m, &list->foreign, !m->sync->rebuilt);
    if (r == 0 && !(m->sync->imap->capabilities & IMAP_CAP_UIDPLUS))
        r = match_removed(m);
    if (r == 0)
        r = maildir_sync_dirs(m->maildir);
    return r < 0 ? r : state_commit(m->sync->state);
}

int match_folder(struct sync *s, struct sync_folder *f, struct maildir *m, uint32_t uidvalidity) {
    cleanup(match) struct match match = {.sync = s, .folder = f, .maildir = m, .old = f->row.uidvalidity};
    cleanup(maildir_list) struct maildir_list list = {0};
    m->uidvalidity = 0; /* none: every file of the mailbox is stale */
    int r = maildir_scan(m, &list);
    m->uidvalidity = uidvalidity;
    if (r == 0)
        r = state_messages(s->state, f->row.id, &match.base, &match.n_base);
    bool orphans = false;
    for (size_t at = 0; at < list.foreign.len; at += strlen(list.foreign.data + at) + 1)
        orphans = orphans || match_is_orphan(s, list.foreign.data + at);
    if (r == 0 && (list.stale.len || orphans || (s->rebuilt && list.foreign.len)))
        r = match_list(s, f, 1, &match.list, &match.n);
    if (r == 0)
        r = state_begin(s->state);
    if (r == 0)
        r = match_all(&match, uidvalidity, &list);
    if (r < 0) {
        state_rollback(s->state);
        return r;
    }
    mail_hook_step();
    if (match.n_base || list.stale.len)
        log_warning(
            "a mail folder was made anew on the server, or what was known of it is lost: %zu messages are "
            "the same",
            match.found);
    f->row.uidvalidity = uidvalidity;
    f->row.uidnext = f->row.messages = 0;
    f->row.modseq = 0;
    return state_counts_all(s->state, &s->counts);
}

int match_drop(const struct maildir *m, const char *entry, struct buf *foreign) {
    cleanup(fd) int fd = -1;
    struct name_message name = {0};
    const char *suffix = NULL;
    struct stat st;
    int r = maildir_entry_open(m, entry, &fd);
    if (r != 0)
        return r == ERR_SYSTEM ? r : 0;
    if (fstat(fd, &st) != 0)
        return err_errno("cannot read a mail file");
    bool edited = !name_parse(entry + 1, &name, &suffix) || st.st_mtim.tv_sec != (time_t)name.seconds ||
                  st.st_mtim.tv_nsec != 0;
    r = edited ? maildir_entry_detach(m, entry, foreign) : maildir_entry_unlink(m, entry);
    return r < 0 ? r : 0;
}
