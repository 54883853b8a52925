#include "agent/mail/sync/upload.h"
#include "agent/mail/sync/hook.h"
#include "agent/mail/sync/list.h"
#include "agent/mail/sync/local.h"
#include "agent/mail/sync/match.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define BATCH 32
#define BATCH_BYTES ((uint64_t)4 << 20)
#define RENAMES_MAX 3 /* how often a file is looked for under another name */
#define RECOVER_MS 700
#define RETRY_MIN_MS 60000
#define RETRY_MAX_MS 3600000
#define VERIFY_MAX                                                                                           \
    ((uint64_t)8 << 20) /* bytes of a message that is read again to be sure that it is the one */

enum upload_way { UPLOAD_APPEND, UPLOAD_COPY, UPLOAD_MOVE };

/* One file. */
struct upload {
    char entry[MAILDIR_NAME_MAX + 1];
    struct content content;
    struct timespec time; /* of the file when it was read */
    uint32_t seconds;
    uint32_t flags; /* in the folder's own keywords */
    enum upload_way way;
    struct sync_folder *source; /* of COPY and MOVE */
    uint32_t source_uid, source_flags;
    int64_t intent; /* row of state_upload */
    unsigned command;
    bool done;    /* it is a message now, or nothing can be said of it any more */
    bool refused; /* tried again later */
};

struct batch {
    struct sync *sync;
    struct sync_folder *folder;
    struct maildir maildir;
    struct upload items[BATCH];
    size_t n;
    uint64_t bytes;
};

static void batch_cleanup(struct batch **b) {
    if (!*b)
        return;
    maildir_close(&(*b)->maildir);
    free(*b);
}

bool upload_due(const struct sync_folder *f) {
    if (f->foreign.len == 0 || f->row.uidvalidity == 0 || f->asks)
        return false;
    return f->refused.len == 0 || f->foreign.len > f->refused.len || clock_boot_ms() >= f->upload_at;
}

int64_t upload_waiting(const struct sync_folder *f) {
    int64_t n = 0;
    for (size_t at = 0; at < f->foreign.len; at += strlen(f->foreign.data + at) + 1)
        n++;
    return n;
}

static int entry_remove(struct buf *entries, const char *entry) {
    for (size_t at = 0; at < entries->len;) {
        size_t n = strlen(entries->data + at) + 1;
        if (strcmp(entries->data + at, entry) == 0) {
            memmove(entries->data + at, entries->data + at + n, entries->len - at - n);
            entries->len -= n;
            return 1;
        }
        at += n;
    }
    return 0;
}

/* -- what a file is ------------------------------------------------------------------------------------- */

/* Keywords of one folder in the letters of another. */
static uint32_t translate(const struct keywords *from, struct keywords *to, uint32_t flags) {
    uint32_t out = flags & ~FLAGS_KEYWORDS;
    for (int i = 0; i < FLAGS_SLOTS; i++) {
        if (!(flags & FLAGS_SLOT(i)))
            continue;
        /* A letter that only the other folder knows came with its file of keywords, when the directory was
         * renamed. */
        const char *name = from->names[i] ? from->names[i] : to->names[i];
        int slot = name ? keyword_slot(to, name, strlen(name), true) : -1;
        out |= slot >= 0 ? FLAGS_SLOT(slot) : 0;
    }
    return out;
}

static struct sync_folder *find_source(const struct folder_list *l, const struct name_message *name) {
    for (size_t i = 0; i < l->n; i++)
        if (l->items[i]->row.hash == name->hash && l->items[i]->row.uidvalidity == name->uidvalidity)
            return l->items[i];
    return NULL;
}

/* Whether the message has no file in its own folder any more. */
static int source_is_empty(struct sync *s, struct sync_folder *f, const struct state_message *row,
                           bool *ret) {
    cleanup(maildir) struct maildir m = MAILDIR_INIT;
    bool made = false;
    int r = maildir_open(s->store.root, f->directory, false, &made, &m);
    m.hash = f->row.hash;
    m.uidvalidity = f->row.uidvalidity;
    bool empty = r == MAILDIR_VANISHED;
    if (r == 0)
        r = maildir_exists(
            &m, NULL, &(struct plan_local){.uid = row->uid, .flags = row->local, .seconds = row->seconds});
    if (r == MAILDIR_VANISHED && !empty && f->hints.scan) {
        f->moved_out++; /* or it has other flags: its own pass will know, and the message is copied for now */
    } else if (r == MAILDIR_VANISHED && !empty) {
        empty = true;
        for (size_t i = 0; i < f->hints.n; i++) /* there, with other flags */
            empty = empty && f->hints.items[i].uid != row->uid;
    }
    if (r == ERR_SYSTEM)
        return r;
    *ret = empty;
    return 0;
}

/* One of our files, with its text, from another folder: the server can copy the message itself. */
static int find_way(struct batch *b, struct upload *u) {
    struct name_message name = {0};
    const char *suffix = "", *colon = strrchr(u->entry, ':');
    struct state_message row = {0};
    bool ours = name_parse(u->entry + 1, &name, &suffix), empty = false;
    u->flags = name_flags(ours || !colon ? suffix : colon, NULL);
    struct sync_folder *source = ours ? find_source(b->sync->folders, &name) : NULL;
    if (!source || source == b->folder)
        return 0;
    if (!source->opened) {
        cleanup(maildir) struct maildir m = MAILDIR_INIT;
        int r = sync_folder_open(b->sync, source, &m);
        if (r < 0 && r != ERR_INVALID)
            return r;
    }
    uint32_t letters = u->flags;
    u->flags = translate(&source->keywords, &b->folder->keywords, letters);
    int r = state_message_get(b->sync->state, source->row.id, name.uid, &row);
    if (r != 0 || row.kind != PLAN_HAVE || row.size != u->content.size || row.crc != u->content.crc)
        return r < 0 ? r : 0;
    r = source_is_empty(b->sync, source, &row, &empty);
    u->way = empty ? UPLOAD_MOVE : UPLOAD_COPY;
    u->source = source;
    u->source_uid = name.uid;
    u->source_flags = translate(&source->keywords, &b->folder->keywords, row.flags);
    u->seconds = row.seconds;
    return r;
}

/* Looks at one file. false: there is nothing to upload. */
static int batch_look(struct batch *b, const char *entry, bool *ret_take) {
    cleanup(fd) int fd = -1;
    struct upload *u = &b->items[b->n];
    struct stat st = {0};
    *u = (struct upload){.way = UPLOAD_APPEND};
    (void)snprintf(u->entry, sizeof u->entry, "%s", entry);
    int r = maildir_entry_open(&b->maildir, entry, &fd);
    if (r == MAILDIR_VANISHED || r == ERR_INVALID)
        return 0;
    if (r < 0)
        return r;
    if (fstat(fd, &st) != 0)
        return err_errno("cannot read a mail file");
    r = content_measure(fd, &u->content);
    if (r < 0)
        return r;
    if (u->content.size == 0) /* still to be written */
        return 0;
    bool sane = st.st_mtim.tv_sec > 0 && st.st_mtim.tv_sec < UINT32_MAX;
    u->time = st.st_mtim;
    u->seconds = (uint32_t)(sane ? st.st_mtim.tv_sec : clock_real_ms() / 1000);
    r = find_way(b, u);
    *ret_take = r == 0;
    return r;
}

/* Fills the batch with the files from *at on that are to be tried now; drops those that are none. */
static int batch_fill(struct batch *b, size_t *at) {
    struct sync_folder *f = b->folder;
    int r = 0;
    b->n = 0;
    b->bytes = 0;
    while (r == 0 && *at < f->foreign.len && b->n < BATCH && b->bytes < BATCH_BYTES) {
        const char *entry = f->foreign.data + *at;
        bool take = false, held = maildir_has_entry(&f->refused, maildir_entry_place(entry), entry + 1);
        if (!held)
            r = batch_look(b, entry, &take);
        if (take) {
            b->bytes += b->items[b->n].content.wire_size;
            b->n++;
        }
        if (r == 0 && !held && !take) {
            char gone[MAILDIR_NAME_MAX + 1];
            (void)snprintf(gone, sizeof gone, "%s", entry);
            entry_remove(&f->foreign, gone);
        } else {
            *at += strlen(entry) + 1;
        }
    }
    return r;
}

/* -- writing down --------------------------------------------------------------------------------------- */

/* What both sides agree on when it has arrived. */
static uint32_t agreed_flags(const struct sync_folder *f, const struct upload *u) {
    return u->way == UPLOAD_APPEND ? u->flags & keyword_known(&f->keywords) : u->source_flags;
}

static int batch_intend(struct batch *b) {
    int r = state_begin(b->sync->state);
    if (r == 0 && b->folder->keywords.changed) /* what the flags of the intents stand for */
        r = state_keywords_put(b->sync->state, b->folder->row.id, &b->folder->keywords);
    for (size_t i = 0; r == 0 && i < b->n; i++) {
        struct upload *u = &b->items[i];
        struct state_upload intent = {.folder = b->folder->row.id,
                                      .uidnext = b->folder->row.uidnext,
                                      .wire_size = u->content.wire_size,
                                      .wire_crc = u->content.wire_crc,
                                      .message_id = u->content.id,
                                      .flags = agreed_flags(b->folder, u)};
        (void)snprintf(intent.name, sizeof intent.name, "%s", u->entry);
        r = state_upload_add(b->sync->state, &intent, &u->intent);
    }
    r = r == 0 ? state_commit(b->sync->state) : r;
    if (r < 0)
        state_rollback(b->sync->state);
    else
        mail_hook_step();
    return r;
}

/* Whether an entry is the file of another, perhaps with other flags or in the other directory. */
static bool is_file_of(const char *entry, const char *other) {
    size_t n = strcspn(other + 1, ":");
    return strncmp(entry + 1, other + 1, n) == 0 && (entry[1 + n] == '\0' || entry[1 + n] == ':');
}

static const char *find_entry(const struct buf *entries, const char *other) {
    for (size_t at = 0; at < entries->len; at += strlen(entries->data + at) + 1)
        if (is_file_of(entries->data + at, other))
            return entries->data + at;
    return NULL;
}

/* A reader was quick: the file has other flags by now. MAILDIR_VANISHED: it is not there any more. */
static int adopt_renamed(struct batch *b, struct upload *u, uint32_t uid, uint32_t *ret_flags) {
    cleanup(buf) struct buf files = {0};
    int r = maildir_foreign(&b->maildir, &files);
    const char *entry = r == 0 ? find_entry(&files, u->entry) : NULL;
    if (!entry)
        return r < 0 ? r : MAILDIR_VANISHED;
    const char *colon = strrchr(entry, ':');
    uint32_t flags = name_flags(colon ? colon : "", NULL);
    r = maildir_entry_adopt(&b->maildir, entry, &u->time, uid, u->seconds, flags);
    if (r == 0)
        *ret_flags = flags;
    return r;
}

/*
 * Makes the file the copy of the message, and its row. Within a transaction. A file that is not there any
 * more was removed, or moved on: the row says that it was here, and the next pass does with the message what
 * it does with every one whose file is gone.
 */
static int adopt(struct batch *b, struct upload *u, uint32_t uid) {
    struct sync_folder *f = b->folder;
    uint32_t local = u->flags;
    int r = maildir_entry_adopt(&b->maildir, u->entry, &u->time, uid, u->seconds, u->flags);
    for (int i = 0; r == MAILDIR_VANISHED && i < RENAMES_MAX; i++)
        r = adopt_renamed(b, u, uid, &local);
    if (r < 0)
        return r;
    f->hints.scan = f->hints.scan || r == MAILDIR_VANISHED;
    struct state_message row = {.uid = uid,
                                .kind = PLAN_HAVE,
                                .flags = agreed_flags(f, u),
                                .local = local,
                                .seconds = u->seconds,
                                .size = u->content.size,
                                .crc = u->content.crc,
                                .part = -1};
    f->all = true; /* flags may have changed on the way */
    r = state_message_put(b->sync->state, f->row.id, &row);
    if (r == 0 && u->way == UPLOAD_MOVE)
        r = state_message_remove(b->sync->state, u->source->row.id, u->source_uid);
    u->done = true;
    return r;
}

/* Ends the intents of what is done, or refused, with what became of it. `uids` beside the items, 0: nothing.
 */
static int batch_record(struct batch *b, const uint32_t *uids) {
    struct state *state = b->sync->state;
    bool any = false;
    int r = sync_folder_keywords(b->folder, &b->maildir);
    if (r == 0)
        r = state_begin(state);
    for (size_t i = 0; r == 0 && i < b->n; i++)
        if (uids[i]) {
            r = adopt(b, &b->items[i], uids[i]);
            any = true;
        }
    if (r == 0 && any)
        r = maildir_sync_dirs(&b->maildir);
    if (r == 0 && b->folder->keywords.changed)
        r = state_keywords_put(state, b->folder->row.id, &b->folder->keywords);
    for (size_t i = 0; r == 0 && i < b->n; i++)
        if (b->items[i].intent && (b->items[i].done || b->items[i].refused)) {
            r = state_upload_remove(state, b->items[i].intent);
            b->items[i].intent = 0;
        }
    r = r == 0 ? state_commit(state) : r;
    if (r < 0) {
        state_rollback(state);
        return r;
    }
    mail_hook_step();
    for (size_t i = 0; i < b->n; i++)
        if (b->items[i].done)
            entry_remove(&b->folder->foreign, b->items[i].entry);
    return state_counts_all(state, &b->sync->counts);
}

/* -- finding again -------------------------------------------------------------------------------------- */

/* Whether a message can be the one of an intent. */
static int is_candidate(struct sync *s, const struct sync_folder *f, const struct match_message *m,
                        const struct state_upload *intent, bool *ret) {
    struct state_message row = {0};
    bool same = m->id == intent->message_id && !m->taken &&
                (m->size == intent->wire_size || intent->message_id); /* some servers change what they get */
    int r = same ? state_message_get(s->state, f->row.id, m->uid, &row) : 1;
    if (r < 0)
        return r;
    if (r == 0 && row.kind == PLAN_HAVE) /* another one, which is known */
        same = false;
    r = 0;
    if (same && m->size == intent->wire_size && m->size <= VERIFY_MAX)
        r = match_verify(s, m->uid, UINT64_MAX, intent->wire_crc, &same);
    if (r == 0)
        *ret = same;
    return r;
}

static int find_uploaded(struct sync *s, const struct sync_folder *f, struct match_message *list, size_t n,
                         const struct state_upload *intent, uint32_t *ret) {
    for (size_t i = 0; i < n; i++) {
        bool same = false;
        int r = is_candidate(s, f, &list[i], intent, &same);
        if (r < 0)
            return r;
        if (same) {
            list[i].taken = true;
            *ret = list[i].uid;
            return 0;
        }
    }
    *ret = 0;
    return 0;
}

/* SELECT for what follows. An imap_result or negative. */
static int select_folder(struct sync *s, const struct sync_folder *f) {
    s->selected = NULL;
    int r = imap_select(s->imap, f->quoted);
    if (r == IMAP_OK)
        s->selected = f;
    return r;
}

/* Tried again later. */
static void refuse(struct batch *b, struct upload *u, const char *why) {
    struct imap_session *imap = b->sync->imap;
    struct sync_folder *f = b->folder;
    int64_t wait = (int64_t)RETRY_MIN_MS << (f->upload_fails < 6 ? f->upload_fails : 6);
    wait = wait > RETRY_MAX_MS ? RETRY_MAX_MS : wait;
    u->refused = true;
    f->upload_at = clock_boot_ms() + (imap->backoff_ms > wait ? imap->backoff_ms : wait);
    if (!maildir_has_entry(&f->refused, maildir_entry_place(u->entry), u->entry + 1))
        (void)maildir_entry(&f->refused, maildir_entry_place(u->entry), u->entry + 1);
    f->dirty = f->dirty || imap->code == IMAP_CODE_TRYCREATE;
    (void)snprintf(f->refusal, sizeof f->refusal, "the server does not take a message: %.120s", why);
    log_warning("mail: %s", f->refusal);
}

/* The UIDs of what the server carried out without saying which. */
static int batch_find(struct batch *b, uint32_t *uids, bool *lost) {
    struct sync *s = b->sync;
    cleanup(free) struct match_message *list = NULL;
    size_t n = 0, any = 0;
    for (size_t i = 0; i < b->n; i++)
        any += lost[i];
    if (any == 0)
        return 0;
    int r = select_folder(s, b->folder);
    if (r != 0)
        return r < 0 ? r : err_set(ERR_PROTOCOL, "the mail server does not open a folder: %s", s->imap->text);
    r = match_list(s, b->folder, b->folder->row.uidnext, &list, &n);
    for (size_t i = 0; r == 0 && i < n; i++) /* those that the server named are others */
        for (size_t k = 0; k < b->n; k++)
            list[i].taken = list[i].taken || list[i].uid == uids[k];
    for (size_t i = 0; r == 0 && i < b->n; i++) {
        const struct upload *u = &b->items[i];
        struct state_upload intent = {
            .wire_size = u->content.wire_size, .wire_crc = u->content.wire_crc, .message_id = u->content.id};
        if (lost[i])
            r = find_uploaded(s, b->folder, list, n, &intent, &uids[i]);
        if (r < 0 || !lost[i] || uids[i])
            continue;
        if (u->way == UPLOAD_APPEND)
            refuse(b, &b->items[i], "it says that it took it, and does not have it");
        else
            b->items[i].way = UPLOAD_APPEND; /* there was nothing left to copy */
        lost[i] = false;
    }
    return r;
}

/* -- MOVE and COPY -------------------------------------------------------------------------------------- */

/* Carries out the moves, or the copies, out of one folder. */
static int transfer(struct batch *b, struct sync_folder *source, enum upload_way way, uint32_t *uids,
                    bool *lost) {
    struct sync *s = b->sync;
    struct imap_session *imap = s->imap;
    uint32_t from[BATCH];
    size_t index[BATCH], n = 0;
    for (size_t i = 0; i < b->n; i++)
        if (b->items[i].source == source && b->items[i].way == way && !uids[i] && !lost[i])
            index[n++] = i;
    if (n == 0)
        return 0;
    int r = select_folder(s, source);
    if (r < 0)
        return r;
    bool good = r == IMAP_OK && imap->uidvalidity == source->row.uidvalidity;
    bool move = way == UPLOAD_MOVE && imap->capabilities & IMAP_CAP_MOVE;
    for (size_t i = 0; i < n; i++) {
        size_t at = i; /* UIDs must rise, and COPYUID is paired by them */
        for (; at > 0 && b->items[index[at - 1]].source_uid > b->items[index[at]].source_uid; at--) {
            size_t other = index[at];
            index[at] = index[at - 1];
            index[at - 1] = other;
        }
    }
    for (size_t i = 0; good && i < n; i++) {
        cleanup(buf) struct buf set = {0};
        size_t used = 0;
        from[0] = b->items[index[i]].source_uid;
        r = uidset_write(from, 1, FOLDER_SET_MAX, &set, &used);
        if (r == 0)
            r = imap_command(imap, "UID %s %s %s", move ? "MOVE" : "COPY", set.data, b->folder->quoted);
        if (r < 0)
            return r;
        mail_hook_step();
        if (r != IMAP_OK) { /* the message is not there any more: the file is */
            b->items[index[i]].way = UPLOAD_APPEND;
            continue;
        }
        if (imap->copied.uidvalidity == b->folder->row.uidvalidity && uidset_count(&imap->copied.to) == 1 &&
            uidset_at(&imap->copied.from, 0) == from[0])
            uids[index[i]] = uidset_at(&imap->copied.to, 0);
        else
            lost[index[i]] = true;
    }
    for (size_t i = 0; !good && i < n; i++)
        b->items[index[i]].way = UPLOAD_APPEND;
    /* Without MOVE the old message is there still, and goes when its folder is looked at. */
    for (size_t i = 0; !move && way == UPLOAD_MOVE && i < n; i++) {
        if (b->items[index[i]].way == UPLOAD_MOVE)
            b->items[index[i]].way = UPLOAD_COPY;
        source->all = source->again = true;
        source->moved_out++;
    }
    return 0;
}

static int batch_transfer(struct batch *b, uint32_t *uids, bool *lost) {
    int r = 0;
    for (size_t i = 0; r == 0 && i < b->n; i++) {
        struct upload *u = &b->items[i];
        if (u->way != UPLOAD_APPEND && !uids[i] && !lost[i])
            r = transfer(b, u->source, u->way, uids, lost);
    }
    return r;
}

/* -- APPEND --------------------------------------------------------------------------------------------- */

/* Reads the answer of the oldest APPEND. */
static int append_done(struct batch *b, uint32_t *uids, bool *lost) {
    struct imap_session *imap = b->sync->imap;
    int r;
    do
        r = imap_next(imap, -1);
    while (r > 0 && r != IMAP_NEXT_DONE);
    if (r < 0)
        return r;
    mail_hook_step();
    for (size_t i = 0; i < b->n; i++) {
        struct upload *u = &b->items[i];
        if (u->command != imap->done)
            continue;
        u->command = 0;
        if (imap->result != IMAP_OK)
            refuse(b, u, imap->text);
        else if (imap->copied.uidvalidity == b->folder->row.uidvalidity && imap->copied.uid)
            uids[i] = imap->copied.uid;
        else
            lost[i] = true;
    }
    return 0;
}

static int append_data(void *ctx, const char *data, size_t n) {
    return imap_append_data(ctx, data, n);
}

static int append_one(struct batch *b, struct upload *u, uint32_t *uids, bool *lost) {
    struct imap_session *imap = b->sync->imap;
    cleanup(buf) struct buf flags = {0};
    cleanup(fd) int fd = -1;
    uint64_t most = imap->capabilities & IMAP_CAP_LITERAL_PLUS    ? IMAP_APPEND_ASK - 1
                    : imap->capabilities & IMAP_CAP_LITERAL_MINUS ? IMAP_LITERAL_MINUS_MAX
                                                                  : 0;
    bool ask = u->content.wire_size > most;
    int r = maildir_entry_open(&b->maildir, u->entry, &fd);
    if (r != 0) { /* a reader took it away, or renamed it: it comes again */
        u->done = r == MAILDIR_VANISHED || r == ERR_INVALID;
        return u->done ? 0 : r;
    }
    r = keyword_write(&b->folder->keywords, u->flags, &flags);
    while (r == 0 && imap_open_commands(imap) > (ask ? 0U : 8U))
        r = append_done(b, uids, lost);
    if (r == 0)
        r = imap_append_begin(imap, b->folder->quoted, flags.data ? flags.data : "", u->seconds,
                              u->content.wire_size);
    if (r > 0) {
        refuse(b, u, imap->text);
        return 0;
    }
    if (r == 0)
        r = content_send(fd, u->content.wire_size, append_data, imap);
    if (r == 0)
        r = imap_append_end(imap);
    u->command = imap->sent;
    return r;
}

static int batch_append(struct batch *b, uint32_t *uids, bool *lost) {
    int r = 0;
    for (size_t i = 0; r == 0 && i < b->n; i++)
        if (b->items[i].way == UPLOAD_APPEND && !uids[i])
            r = append_one(b, &b->items[i], uids, lost);
    while (r == 0 && imap_open_commands(b->sync->imap) > 0)
        r = append_done(b, uids, lost);
    return r;
}

/* -- the whole ------------------------------------------------------------------------------------------ */

/* Afterwards every file is done or refused. */
static int batch_run(struct batch *b) {
    uint32_t uids[BATCH] = {0};
    bool lost[BATCH] = {false};
    int r = batch_intend(b);
    if (r == 0)
        r = batch_transfer(b, uids, lost);
    if (r == 0)
        r = batch_find(b, uids, lost);
    if (r == 0)
        r = batch_append(b, uids, lost);
    if (r == 0)
        r = batch_find(b, uids, lost);
    return r < 0 ? r : batch_record(b, uids);
}

int upload_run(struct sync *s, struct sync_folder *f) {
    cleanup(batch) struct batch *b = calloc(1, sizeof *b);
    size_t at = 0;
    if (!b)
        return err_set(ERR_SYSTEM, "out of memory");
    *b = (struct batch){.sync = s, .folder = f, .maildir = MAILDIR_INIT};
    int r = sync_folder_open(s, f, &b->maildir);
    if (r > 0) /* the folder is gone, and what waited in it */
        buf_clear(&f->foreign);
    if (r != 0)
        return r == ERR_INVALID || r > 0 ? 0 : r;
    if (clock_boot_ms() >= f->upload_at)
        buf_clear(&f->refused);
    do {
        at = 0;
        r = batch_fill(b, &at);
        if (r == 0 && b->n > 0)
            r = batch_run(b);
    } while (r == 0 && b->n > 0);
    f->again = true;
    f->upload_fails = f->refused.len ? f->upload_fails + 1 : 0;
    return r;
}

/* -- recovery ------------------------------------------------------------------------------------------- */

/* The row of a message that arrived, as of when it was sent: what a reader changed since then shows. */
static struct state_message recovered(const struct match_message *found, const struct state_upload *intent,
                                      const struct content *content) {
    bool edited = content->wire_size != intent->wire_size || content->wire_crc != intent->wire_crc;
    return (struct state_message){.uid = found->uid,
                                  .kind = PLAN_HAVE,
                                  .flags = intent->flags,
                                  .local = intent->flags,
                                  .seconds = found->seconds,
                                  .size = edited ? intent->wire_size : content->size,
                                  .crc = edited ? intent->wire_crc : content->crc,
                                  .part = -1};
}

/* The message of an intent is on the server, and its file is still under its old name. */
static int recover_file(struct batch *b, const char *entry, const struct match_message *found,
                        const struct state_upload *intent) {
    static const struct timespec unknown = {0};
    struct upload *u = &b->items[0];
    bool take = false;
    b->n = 0;
    int r = batch_look(b, entry, &take);
    if (r < 0 || !take)
        return r;
    struct state_message row = recovered(found, intent, &u->content);
    bool edited = row.crc != u->content.crc || row.size != u->content.size;
    row.seconds = found->seconds ? found->seconds : u->seconds;
    row.local = u->flags;
    r = maildir_entry_adopt(&b->maildir, u->entry, edited ? &unknown : &u->time, found->uid, row.seconds,
                            u->flags);
    if (r != 0)
        return r < 0 ? r : 0;
    return state_message_put(b->sync->state, b->folder->row.id, &row);
}

/* The same where the crash came late: it has the new name already. */
static int recover_named(struct batch *b, const struct plan_local *item, const struct match_message *found,
                         const struct state_upload *intent) {
    struct content content = {0};
    int r = maildir_measure(&b->maildir, item, &content);
    if (r != 0)
        return r < 0 && r != ERR_INVALID ? r : 0;
    struct state_message row = recovered(found, intent, &content);
    row.local = item->flags;
    row.seconds = item->seconds;
    return state_message_put(b->sync->state, b->folder->row.id, &row);
}

/* The message of an intent is on the server: its file gets its row. Where a reader removed the file, the row
 * says that it was here, and the next pass does what it does with every message whose file is gone. */
static int recover_row(struct batch *b, const struct maildir_list *list, const struct match_message *found,
                       const struct state_upload *intent) {
    const char *entry = find_entry(&list->foreign, intent->name);
    entry = entry ? entry : find_entry(&list->stale, intent->name);
    b->folder->all = true; /* flags may have changed on the way */
    if (entry)
        return recover_file(b, entry, found, intent);
    for (size_t i = 0; i < list->n; i++)
        if (list->items[i].uid == found->uid)
            return recover_named(b, &list->items[i], found, intent);
    struct content none = {.size = 1, .wire_size = intent->wire_size, .wire_crc = intent->wire_crc};
    struct state_message row = recovered(found, intent, &none);
    return state_message_put(b->sync->state, b->folder->row.id, &row);
}

/* The open intents of one folder, which is selected. Within a transaction. */
static int recover_intents(struct batch *b, const struct state_upload *intents, size_t n) {
    cleanup(free) struct match_message *list = NULL;
    cleanup(maildir_list) struct maildir_list files = {0};
    size_t n_list = 0;
    uint32_t first = UINT32_MAX;
    for (size_t i = 0; i < n; i++)
        if (intents[i].folder == b->folder->row.id && intents[i].uidnext < first)
            first = intents[i].uidnext;
    int r = match_list(b->sync, b->folder, first, &list, &n_list);
    if (r == 0)
        r = maildir_scan(&b->maildir, &files);
    for (size_t i = 0; r == 0 && i < n; i++) {
        uint32_t uid = 0;
        if (intents[i].folder != b->folder->row.id)
            continue;
        r = find_uploaded(b->sync, b->folder, list, n_list, &intents[i], &uid);
        for (size_t k = 0; r == 0 && uid && k < n_list; k++)
            if (list[k].uid == uid)
                r = recover_row(b, &files, &list[k], &intents[i]);
        if (r == 0)
            r = state_upload_remove(b->sync->state, intents[i].id);
    }
    return r == 0 ? maildir_sync_dirs(&b->maildir) : r;
}

static int recover_folder(struct sync *s, struct sync_folder *f, const struct state_upload *intents,
                          size_t n) {
    cleanup(batch) struct batch *b = calloc(1, sizeof *b);
    if (!b)
        return err_set(ERR_SYSTEM, "out of memory");
    *b = (struct batch){.sync = s, .folder = f, .maildir = MAILDIR_INIT};
    int r = sync_folder_open(s, f, &b->maildir);
    if (r == 0)
        r = select_folder(s, f);
    if (r != 0)
        return r == ERR_INVALID || r > 0 ? 0 : r;
    if (s->imap->uidvalidity != f->row.uidvalidity)
        s->rebuilt = true; /* nothing is known for sure any more: files are matched before anything goes up */
    r = state_begin(s->state);
    if (r == 0 && s->imap->uidvalidity == f->row.uidvalidity)
        r = recover_intents(b, intents, n);
    else
        for (size_t i = 0; r == 0 && i < n; i++)
            r = intents[i].folder == f->row.id ? state_upload_remove(s->state, intents[i].id) : 0;
    r = r == 0 ? state_commit(s->state) : r;
    state_rollback(s->state);
    if (r == 0)
        mail_hook_step();
    f->hints.scan = true;
    return r;
}

int upload_recover(struct sync *s) {
    cleanup(free) struct state_upload *intents = NULL;
    size_t n = 0;
    int r = state_uploads(s->state, &intents, &n);
    if (r == 0 && n > 0)
        log_info("%zu messages were on their way to the server when the last session ended", n);
    /* The server may still be at what the dead connection asked for. */
    if (r == 0 && n > 0)
        r = sync_pause(s, RECOVER_MS);
    for (size_t i = 0; r == 0 && n > 0 && i < s->folders->n; i++) {
        struct sync_folder *f = s->folders->items[i];
        bool any = false;
        for (size_t k = 0; k < n; k++)
            any = any || intents[k].folder == f->row.id;
        if (any)
            r = recover_folder(s, f, intents, n);
    }
    return r < 0 ? r : state_counts_all(s->state, &s->counts);
}
