#include "agent/mail/sync/renamed.h"
#include "agent/mail/sync/match.h"
#include "agent/mail/sync/renaming.h"
#include "agent/mail/sync/tree.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/base/log.h"

#include <stdlib.h>
#include <string.h>

#define SAMPLES 16 /* messages that are looked at to know a renamed mailbox again */

/* -- which is which ------------------------------------------------------------------------------------- */

/* What is in the file of a message: in the folder's old place, or already in the new one, where a crash came
 * in between. MAILDIR_VANISHED. */
static int measure_in(struct sync *s, const struct sync_folder *old, const char *other, uint32_t uid,
                      struct content *ret) {
    const char *const places[] = {old->directory, other};
    struct state_message row = {0};
    int r = state_message_get(s->state, old->row.id, uid, &row);
    const struct plan_local item = {.uid = uid, .flags = row.local, .seconds = row.seconds};
    for (size_t i = 0; i < 2 && r >= 0; i++) {
        cleanup(maildir) struct maildir m = MAILDIR_INIT;
        bool made = false;
        r = maildir_open(s->store.root, places[i], false, &made, &m);
        m.hash = old->row.hash;
        m.uidvalidity = old->row.uidvalidity;
        if (r == 0)
            r = maildir_measure(&m, &item, ret);
        if (r != MAILDIR_VANISHED)
            break;
    }
    return r == ERR_INVALID ? MAILDIR_VANISHED : r;
}

/* By MAILBOXID, where there is one; else whether one of the newest messages of the copy is in the mailbox
 * that may be the same under another name. Readers may have changed some, and others may be gone there. */
static int is_same_mailbox(struct sync *s, const struct sync_folder *old, struct sync_folder *now,
                           const char *directory, bool *ret) {
    cleanup(free) struct match_message *list = NULL;
    struct sample {
        uint32_t uid;
        struct content content;
    } samples[SAMPLES];
    size_t n = 0, n_samples = 0;
    uint32_t uid = UINT32_MAX;
    int r = 0;
    for (int i = 0; r == 0 && i < SAMPLES && uid; i++) {
        r = state_newest(s->state, old->row.id, uid, &uid);
        int code = r == 0 && uid ? measure_in(s, old, directory, uid, &samples[n_samples].content) : 1;
        if (code == 0)
            samples[n_samples++].uid = uid;
        r = code < 0 ? code : r;
    }
    if (r < 0 || (n_samples == 0 && old->row.object == 0))
        return r;
    s->selected = NULL;
    r = imap_select(s->imap, now->quoted);
    if (r != 0)
        return r < 0 ? r : 0;
    if ((s->imap->object && old->row.object) || n_samples == 0) {
        *ret = s->imap->object && s->imap->object == old->row.object;
        return 0;
    }
    r = match_list(s, now, samples[n_samples - 1].uid, &list, &n);
    for (size_t i = 0; r == 0 && i < n; i++)
        for (size_t k = 0; k < n_samples; k++)
            *ret =
                *ret ||
                (list[i].uid == samples[k].uid && list[i].id == samples[k].content.id &&
                 (list[i].size == samples[k].content.size || list[i].size == samples[k].content.wire_size));
    return r < 0 ? r : 0;
}

static bool is_there(const struct sync_folder *f) {
    return f->listed && f->told;
}

/* Whether the mailbox of that name is still the one that the row tells of. */
static bool is_at_home(const struct sync_folder *f) {
    return is_there(f) && f->row.uidvalidity && f->row.uidvalidity == f->status.uidvalidity;
}

/* A folder that is its own successor has another one, and waits until the name is free. */
static struct sync_folder *find_predecessor(const struct folder_list *l, const struct sync_folder *f) {
    for (size_t i = 0; i < l->n; i++)
        if (l->items[i]->successor == f && l->items[i] != f)
            return l->items[i];
    return NULL;
}

static bool is_moving(const struct sync_folder *f) {
    return f->successor && f->successor != f;
}

/* Whether nothing is in a folder but the new name of another one. */
static bool stands_in(const struct folder_list *l, const struct sync_folder *f) {
    return !f->successor && find_predecessor(l, f);
}

/* The mailbox that was the folder's, under another name: *ret stays as it is where there is none. Some
 * servers give the same UIDVALIDITY to all that are made within a second. */
static int find_successor(struct sync *s, const struct folder_list *l, const struct sync_folder *old,
                          struct sync_folder **ret) {
    int r = 0;
    for (size_t i = 0; r == 0 && i < l->n; i++) {
        struct sync_folder *f = l->items[i];
        cleanup(buf) struct buf home = {0};
        bool same = false;
        if (f == old || f->use == FOLDER_USE_INBOX || !is_there(f) || is_at_home(f) ||
            f->status.uidvalidity != old->row.uidvalidity || find_predecessor(l, f) ||
            folder_list_home(l, f->mailbox, &home) < 0)
            continue;
        r = is_same_mailbox(s, old, f, home.data, &same);
        if (r == 0 && same) {
            *ret = f;
            break;
        }
    }
    return r;
}

static int find_successors(struct sync *s, struct folder_list *l, bool *ret_any) {
    int r = 0;
    for (size_t i = 0; i < l->n; i++)
        l->items[i]->successor = NULL;
    for (size_t i = 0; r == 0 && i < l->n; i++) {
        struct sync_folder *f = l->items[i];
        if (f->row.uidvalidity && f->use == FOLDER_USE_NONE && !is_at_home(f))
            r = find_successor(s, l, f, &f->successor);
        *ret_any = *ret_any || f->successor;
    }
    return r;
}

/* -- what has left -------------------------------------------------------------------------------------- */

/* Sets the time right of files that were only touched, so that they do not count as edited. */
static int settle_touched(struct sync *s, const struct sync_folder *f, const struct maildir *m) {
    cleanup(maildir_list) struct maildir_list list = {0};
    int r = maildir_scan(m, &list);
    for (size_t i = 0; r == 0 && i < list.n; i++) {
        struct state_message row = {0};
        bool edited = false;
        if (!list.items[i].edited)
            continue;
        r = state_message_get(s->state, f->row.id, list.items[i].uid, &row);
        if (r == 0)
            r = maildir_is_edited(m, &list.names, &list.items[i], row.size, row.crc, &edited);
        r = r > 0 ? 0 : r;
    }
    return r;
}

/* Removes the copy of a mailbox that is gone, but for what readers made or changed. */
static int remove_copy(struct sync *s, const struct sync_folder *f) {
    cleanup(maildir) struct maildir m = MAILDIR_INIT;
    bool made = false, left = false;
    int r = maildir_open(s->store.root, f->directory, false, &made, &m);
    m.hash = f->row.hash;
    m.uidvalidity = f->row.uidvalidity;
    if (r == 0)
        r = settle_touched(s, f, &m);
    return r < 0 && r != ERR_INVALID ? r : maildir_remove(s->store.root, f->directory, f->row.hash, &left);
}

/* A folder that LIST does not name, or that tells nothing of itself, goes only when the server also says that
 * it does not exist. *ret_gone: it is not in the list any more. */
static int remove_folder(struct sync *s, struct folder_list *l, struct sync_folder *f, bool *ret_gone) {
    struct state_counts counts = {0};
    int r = state_counts_of(s->state, f->row.id, &counts);
    if (r == 0)
        r = f->quoted ? imap_command(s->imap, "STATUS %s (MESSAGES)", f->quoted) : IMAP_NO;
    bool sure = !f->listed || s->imap->code == IMAP_CODE_NONEXISTENT ||
                (s->imap->code == IMAP_CODE_NONE && counts.all == 0); /* Dovecot 2.3.19 has no code here */
    if (r != IMAP_NO || !sure)
        return r < 0 ? r : 0;
    r = folder_list_ask(s, f, "deleted on the server", "its copy stays");
    if (r < 0 || f->asks)
        return r;
    if (f->row.uidvalidity)
        log_info("a mail folder has left the server");
    if (f->row.uidvalidity || f->row.uidnext) /* else a directory of that name is a reader's */
        r = remove_copy(s, f);
    if (r == 0)
        r = folder_list_drop(s, l, f);
    *ret_gone = r == 0;
    return r;
}

/* A folder whose mailbox is gone, and whose name another one has now: that one waits where this one asks. */
static int make_way(struct sync *s, struct sync_folder *f, struct sync_folder *for_whom) {
    int r = folder_list_ask(s, f, "deleted on the server", "its copy stays");
    if (r == 0 && f->asks) {
        for_whom->successor = for_whom;
        f->listed = for_whom->listed = false;
        return 0;
    }
    return r < 0 ? r : remove_copy(s, f);
}

static int remove_gone(struct sync *s, struct folder_list *l, bool *ret_any) {
    int r = 0;
    for (size_t i = 0; r == 0 && i < l->n;) {
        struct sync_folder *f = l->items[i], *before = find_predecessor(l, f);
        bool gone = false, known = f->row.uidvalidity || f->born_here;
        /* Some that LIST names are not there (Dovecot 2.3.19, after a RENAME): then no STATUS came. */
        if (!f->successor && (!f->listed || (!f->told && f->use == FOLDER_USE_NONE)))
            r = remove_folder(s, l, f, &gone);
        else if (!f->successor && before && f->row.uidvalidity && !is_at_home(f))
            r = make_way(s, f, before);
        *ret_any = *ret_any || (gone && known);
        i += !gone;
    }
    return r;
}

/* -- renamed -------------------------------------------------------------------------------------------- */

/* One folder while directories are renamed. */
struct move {
    struct sync_folder *folder;
    char *now, *wanted;         /* owned: directories */
    char *mailbox;              /* owned: its new name, NULL: it keeps it */
    bool aside;                 /* that name is one that we gave it, on its way to another */
    struct state_folder status; /* of the mailbox */
};

struct moves {
    struct move *items;     /* owned */
    struct renaming *names; /* owned: the same, for renaming.h */
    size_t n;
};

static void moves_cleanup(struct moves *m) {
    for (size_t i = 0; i < m->n; i++) {
        free(m->items[i].now);
        free(m->items[i].wanted);
        free(m->items[i].mailbox);
    }
    free(m->items);
    free(m->names);
}

/* The directory where a folder is to go. */
static int set_wanted(const struct folder_list *l, struct move *m, const char *mailbox) {
    cleanup(buf) struct buf home = {0};
    int r = folder_list_home(l, mailbox, &home);
    if (r < 0)
        return r;
    free(m->wanted);
    m->wanted = buf_steal(&home);
    return 0;
}

/* All folders with the directories that they are to have. What only stands for the new name of another one is
 * not among them. */
static int moves_make(const struct folder_list *l, struct moves *m) {
    m->items = calloc(l->n + 1, sizeof *m->items);
    m->names = calloc(l->n + 1, sizeof *m->names);
    int r = 0;
    if (!m->items || !m->names)
        return err_set(ERR_SYSTEM, "out of memory");
    for (size_t i = 0; r == 0 && i < l->n; i++) {
        struct sync_folder *f = l->items[i];
        if (stands_in(l, f))
            continue;
        struct move *move = &m->items[m->n++];
        *move = (struct move){.folder = f, .now = strdup(f->directory), .wanted = strdup(f->directory)};
        if (!move->now || !move->wanted)
            return err_set(ERR_SYSTEM, "out of memory");
        if (!is_moving(f))
            continue;
        move->mailbox = strdup(f->successor->mailbox);
        move->status = f->successor->status;
        if (!move->mailbox)
            return err_set(ERR_SYSTEM, "out of memory");
        move->aside = tree_is_aside(f, move->mailbox);
        if (!move->aside)
            r = set_wanted(l, move, move->mailbox);
    }
    return r;
}

/* A reader gave a folder the name that another one got on the server: it goes back. */
static int moves_give_way(const struct folder_list *l, struct moves *m) {
    int r = 0;
    for (size_t i = 0; r == 0 && i < m->n; i++)
        for (size_t k = 0; r == 0 && m->items[i].mailbox && k < m->n; k++)
            if (k != i && !m->items[k].mailbox && m->items[k].folder->row.renamed &&
                strcmp(m->items[k].now, m->items[i].wanted) == 0)
                r = set_wanted(l, &m->items[k], m->items[k].folder->mailbox);
    return r;
}

static int move_step(struct sync *s, struct move *m, const char *to) {
    char *copy = strdup(to);
    if (!copy)
        return err_set(ERR_SYSTEM, "out of memory");
    int r = maildir_rename(s->store.root, m->now, to);
    if (r == ERR_REFUSED || r == ERR_INVALID) { /* stays, and is looked at again */
        sync_folder_problem(m->folder, "the folder cannot be renamed as on the server: %s", err_text());
        m->folder->listed = false;
        free(m->wanted);
        m->wanted = strdup(m->now);
        free(m->mailbox);
        m->mailbox = NULL;
        free(copy);
        return m->wanted ? 0 : err_set(ERR_SYSTEM, "out of memory");
    }
    free(m->now);
    m->now = copy;
    return r < 0 ? r : 0;
}

/* Renames the directories. */
static int moves_run(struct sync *s, struct moves *m) {
    int r = 0;
    for (;;) {
        char away[NAME_AWAY_SIZE];
        size_t which = 0;
        for (size_t i = 0; i < m->n; i++)
            m->names[i] = (struct renaming){.now = m->items[i].now, .wanted = m->items[i].wanted};
        enum renaming_what what = renaming_next(m->names, m->n, '\0', &which);
        if (what == RENAMING_NONE || r < 0 || which >= m->n)
            return r;
        struct move *move = &m->items[which];
        name_away(move->folder->row.hash, away);
        r = move_step(s, move, what == RENAMING_FINAL ? move->wanted : away);
    }
}

/* Writes down what was done. */
static int moves_commit(struct sync *s, struct folder_list *l, struct moves *m) {
    cleanup(free) struct folder_rename *renames = calloc(m->n + 1, sizeof *renames);
    size_t n = 0;
    int r = 0;
    if (!renames)
        return err_set(ERR_SYSTEM, "out of memory");
    for (size_t i = 0; r == 0 && i < l->n;) { /* what only stands for new names */
        struct sync_folder *f = l->items[i];
        bool drop = stands_in(l, f);
        for (size_t k = 0; drop && k < l->n; k++)
            l->items[k]->successor = l->items[k]->successor == f ? NULL : l->items[k]->successor;
        r = drop ? folder_list_drop(s, l, f) : 0;
        i += !drop;
    }
    for (size_t i = 0; r == 0 && i < m->n; i++) {
        struct move *move = &m->items[i];
        if (strcmp(move->now, move->wanted) != 0) { /* the name is not free yet */
            move->folder->listed = false;
            free(move->mailbox);
            move->mailbox = NULL;
        }
        if (move->mailbox || strcmp(move->now, move->folder->directory) != 0)
            renames[n++] =
                (struct folder_rename){.folder = move->folder,
                                       .mailbox = move->mailbox ? move->mailbox : move->folder->mailbox,
                                       .directory = move->now,
                                       .renamed = move->aside && move->folder->row.renamed};
    }
    if (r == 0)
        r = folder_list_rename(s, renames, n);
    for (size_t i = 0; r == 0 && i < m->n; i++)
        if (m->items[i].mailbox) {
            log_info("a mail folder was renamed on the server");
            m->items[i].folder->status = m->items[i].status;
            m->items[i].folder->listed = m->items[i].folder->told = true;
        }
    return r;
}

int renamed_update(struct sync *s, struct folder_list *l) {
    cleanup(moves) struct moves m = {0};
    bool any = false, gone = false;
    int r = find_successors(s, l, &any);
    if (r == 0)
        r = remove_gone(s, l, &gone);
    if (r < 0 || !any)
        return r == 0 && gone ? RENAMED_SOME : r;
    r = moves_make(l, &m);
    if (r == 0)
        r = moves_give_way(l, &m);
    if (r == 0)
        r = moves_run(s, &m);
    if (r == 0)
        r = moves_commit(s, l, &m);
    folder_list_sort(l);
    for (size_t i = 0; i < m.n; i++)
        gone = gone || m.items[i].mailbox;
    return r == 0 && gone ? RENAMED_SOME : r;
}
