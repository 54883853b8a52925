#include "agent/mail/sync/list.h"
#include "agent/mail/sync/hook.h"
#include "agent/mail/sync/local.h"
#include "agent/mail/sync/match.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SAMPLES 16 /* messages that are looked at to know a renamed mailbox again */
#define STATUS_ITEMS "MESSAGES UIDNEXT UIDVALIDITY"

void folder_list_finish(struct folder_list *l) {
    for (size_t i = 0; i < l->n; i++)
        sync_folder_destroy(l->items[i]);
    free(l->items);
    *l = (struct folder_list){0};
}

struct sync_folder *folder_list_find(const struct folder_list *l, int64_t id) {
    for (size_t i = 0; i < l->n; i++)
        if (l->items[i]->row.id == id)
            return l->items[i];
    return NULL;
}

struct sync_folder *folder_list_find_directory(const struct folder_list *l, const char *directory) {
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->items[i]->directory, directory) == 0)
            return l->items[i];
    return NULL;
}

static struct sync_folder *find_mailbox(const struct folder_list *l, const char *mailbox, size_t n) {
    bool inbox = name_is_inbox(mailbox, n);
    for (size_t i = 0; i < l->n; i++)
        if (inbox ? strcmp(l->items[i]->mailbox, "INBOX") == 0
                  : strlen(l->items[i]->mailbox) == n && memcmp(l->items[i]->mailbox, mailbox, n) == 0)
            return l->items[i];
    return NULL;
}

/* -- making folders ------------------------------------------------------------------------------------- */

static void destroy_cleanup(struct sync_folder **f) {
    sync_folder_destroy(*f);
}

static int set_names(struct sync_folder *f, const struct imap_session *imap, const char *mailbox, size_t n,
                     const char *directory) {
    cleanup(buf) struct buf quoted = {0};
    int r = imap ? imap_quote(imap, mailbox, n, &quoted) : 0;
    if (r < 0)
        return r;
    char *name = name_is_inbox(mailbox, n) ? strdup("INBOX") : strndup(mailbox, n), *copy = strdup(directory);
    free(f->mailbox);
    free(f->quoted);
    free(f->directory);
    f->mailbox = name;
    f->directory = copy;
    f->quoted = quoted.data ? buf_steal(&quoted) : NULL;
    if (!f->mailbox || !f->directory || (imap && !f->quoted))
        return err_set(ERR_SYSTEM, "out of memory");
    return 0;
}

/* A folder with the state's row, made when missing. ERR_INVALID, ERR_TOO_LARGE, ERR_REFUSED: a name that
 * cannot be kept. */
static int folder_make(struct sync *s, const char *mailbox, size_t n, const char *directory,
                       struct sync_folder **ret) {
    cleanup(destroy) struct sync_folder *f = calloc(1, sizeof *f);
    if (!f)
        return err_set(ERR_SYSTEM, "out of memory");
    f->dirty = true;
    f->fetch_below = f->large_below = UINT32_MAX;
    int r = set_names(f, s->imap, mailbox, n, directory);
    if (r == 0)
        r = state_folder_get(s->state, f->mailbox, f->directory, name_hash(f->mailbox, strlen(f->mailbox)),
                             &f->row);
    if (r < 0)
        return r;
    f->born_here = f->row.uidvalidity == 0 && f->row.uidnext == FOLDER_BORN_HERE;
    if (strcmp(f->mailbox, "INBOX") == 0)
        f->use = FOLDER_USE_INBOX;
    *ret = steal(f);
    return 0;
}

static int list_append(struct folder_list *l, struct sync_folder *f) {
    if (l->n == l->allocated) {
        size_t more = l->allocated ? l->allocated * 2 : 32;
        struct sync_folder **grown =
            l->n >= LIST_FOLDERS_MAX ? NULL : reallocarray(l->items, more, sizeof(void *));
        if (!grown)
            return err_set(ERR_TOO_LARGE, "the mail server has more than %d folders", LIST_FOLDERS_MAX);
        l->items = grown;
        l->allocated = more;
    }
    l->items[l->n++] = f;
    return 0;
}

int folder_list_add(struct sync *s, struct folder_list *l, const char *mailbox, const char *directory) {
    struct sync_folder *f = NULL;
    int r = folder_make(s, mailbox, strlen(mailbox), directory, &f);
    if (r < 0 || !f)
        return r;
    f->listed = true;
    r = list_append(l, f);
    if (r < 0)
        sync_folder_destroy(f);
    return r;
}

int folder_list_drop(struct sync *s, struct folder_list *l, struct sync_folder *f) {
    int r = state_begin(s->state);
    if (r == 0)
        r = state_folder_remove(s->state, f->row.id);
    r = r == 0 ? state_commit(s->state) : r;
    if (r < 0) {
        state_rollback(s->state);
        return r;
    }
    mail_hook_step();
    if (s->selected == f)
        s->selected = NULL;
    for (size_t i = 0; i < l->n; i++)
        if (l->items[i] == f) {
            memmove(&l->items[i], &l->items[i + 1], (l->n - i - 1) * sizeof(void *));
            l->n--;
            break;
        }
    sync_folder_destroy(f);
    return state_counts_all(s->state, &s->counts);
}

int folder_list_rename(struct sync *s, struct sync_folder *f, const char *mailbox, const char *directory) {
    int r = state_begin(s->state);
    if (r == 0)
        r = state_folder_rename(s->state, f->row.id, mailbox, directory);
    r = r == 0 ? state_commit(s->state) : r;
    if (r < 0) {
        state_rollback(s->state);
        return r;
    }
    mail_hook_step();
    if (s->selected == f)
        s->selected = NULL;
    f->opened = false;
    f->dirty = true;
    return set_names(f, s->imap, mailbox, strlen(mailbox), directory);
}

/* -- LIST ----------------------------------------------------------------------------------------------- */

struct attributes {
    bool selectable, special, view;
};

static struct attributes read_attributes(const struct imap_parser *p, const struct imap_node *list) {
    static const char *const special[] = {"\\Sent", "\\Drafts",  "\\Trash",
                                          "\\Junk", "\\Archive", "\\Important"};
    struct attributes a = {.selectable = true};
    uint32_t i = (uint32_t)(list - p->nodes) + 1;
    for (const struct imap_node *n; (n = imap_node_at(p, i, list->end)); i = n->end) {
        if (imap_node_is(p, n, "\\Noselect") || imap_node_is(p, n, "\\NonExistent"))
            a.selectable = false;
        a.view = a.view || imap_node_is(p, n, "\\All") || imap_node_is(p, n, "\\Flagged");
        for (size_t k = 0; k < sizeof special / sizeof *special; k++)
            a.special = a.special || imap_node_is(p, n, special[k]);
    }
    return a;
}

/* One mailbox of the answer. What cannot be kept is passed over and said; the others go on. */
static int list_take(struct sync *s, struct folder_list *l, const char *mailbox, size_t n, char delimiter,
                     struct attributes attributes) {
    cleanup(buf) struct buf directory = {0};
    struct sync_folder *f = find_mailbox(l, mailbox, n);
    int r = 0;
    if (!f) {
        r = name_folder(mailbox, n, delimiter, &directory);
        if (r == 0 && directory.data)
            r = folder_make(s, mailbox, n, directory.data, &f);
        if (r == ERR_INVALID || r == ERR_TOO_LARGE || r == ERR_REFUSED) {
            (void)snprintf(l->problem, sizeof l->problem, "a folder of the server is left out: %s",
                           err_text());
            return 0;
        }
        if (r == 0 && f)
            r = list_append(l, f);
        if (r < 0 || !f) {
            sync_folder_destroy(f);
            return r;
        }
    } else if (!f->listed) {
        cleanup(buf) struct buf quoted = {0};
        r = imap_quote(s->imap, mailbox, n, &quoted);
        if (r == 0) { /* this connection may write names otherwise */
            free(f->quoted);
            f->quoted = buf_steal(&quoted);
        }
    }
    f->listed = true;
    if (f->use == FOLDER_USE_NONE && attributes.special)
        f->use = FOLDER_USE_SPECIAL;
    return r < 0 ? r : 0;
}

/* "* LIST (attributes) delimiter mailbox" (RFC 3501 section 7.2.2). */
static int list_response(struct sync *s, struct folder_list *l) {
    const struct imap_parser *p = &s->imap->parser;
    cleanup(buf) struct buf name = {0};
    if (!imap_node_is(p, &p->nodes[0], "LIST") || p->count < 4 || p->nodes[1].type != IMAP_LIST)
        return 0;
    const struct imap_node *delimiter = imap_node_at(p, p->nodes[1].end, p->count);
    const struct imap_node *mailbox = delimiter ? imap_node_at(p, delimiter->end, p->count) : NULL;
    if (!mailbox || mailbox->type == IMAP_LIST)
        return 0;
    char separator =
        delimiter->type != IMAP_NIL && delimiter->len == 1 ? *imap_node_text(p, delimiter) : '\0';
    l->delimiter = separator ? separator : l->delimiter;
    struct attributes attributes = read_attributes(p, &p->nodes[1]);
    if (!attributes.selectable || attributes.view) /* a view shows what other mailboxes hold */
        return 0;
    int r = imap_mailbox(s->imap, imap_node_text(p, mailbox), mailbox->len, &name);
    if (r == ERR_INVALID) {
        (void)snprintf(l->problem, sizeof l->problem, "a folder of the server is left out: %s", err_text());
        return 0;
    }
    return r < 0 || !name.data ? r : list_take(s, l, name.data, name.len, separator, attributes);
}

static int list_read(struct sync *s, struct folder_list *l) {
    bool status = s->imap->capabilities & IMAP_CAP_LIST_STATUS;
    bool special =
        s->imap->capabilities & IMAP_CAP_SPECIAL_USE && s->imap->capabilities & IMAP_CAP_LIST_EXTENDED;
    const char *modseq = s->imap->enabled & IMAP_CAP_CONDSTORE ? " HIGHESTMODSEQ" : "";
    for (size_t i = 0; i < l->n; i++)
        l->items[i]->listed = l->items[i]->told = false;
    l->problem[0] = '\0';
    l->changed = false;
    int r = status ? imap_send(s->imap, "LIST \"\" \"*\" RETURN (%sSTATUS (" STATUS_ITEMS "%s))",
                               special ? "SPECIAL-USE " : "", modseq)
                   : imap_send(s->imap, "LIST \"\" \"*\"%s", special ? " RETURN (SPECIAL-USE)" : "");
    while (r >= 0 && (r = imap_next(s->imap, -1)) > 0 && r != IMAP_NEXT_DONE)
        if (r == IMAP_NEXT_UNTAGGED) {
            r = list_response(s, l);
            if (r < 0)
                break;
            r = IMAP_NEXT_UNTAGGED;
        }
    l->changed = false; /* LIST responses set it */
    return r < 0 ? r : (int)s->imap->result;
}

/* -- STATUS --------------------------------------------------------------------------------------------- */

static uint64_t status_number(const struct imap_parser *p, uint32_t list, const char *key,
                              uint64_t otherwise) {
    const struct imap_node *n = imap_attribute(p, list, key);
    uint64_t number = 0;
    return n && imap_node_number(p, n, &number) ? number : otherwise;
}

/* "* STATUS mailbox (...)": of a command, of LIST, or by NOTIFY, which may tell less. */
static void take_status(struct sync *s, const struct imap_parser *p) {
    cleanup(buf) struct buf name = {0};
    if (p->count < 3 || p->nodes[1].type == IMAP_LIST ||
        imap_mailbox(s->imap, imap_node_text(p, &p->nodes[1]), p->nodes[1].len, &name) < 0 || !name.data)
        return;
    struct sync_folder *f = find_mailbox(s->folders, name.data, name.len);
    uint32_t list = p->nodes[1].end;
    if (!f) {
        s->folders->changed = true;
        return;
    }
    struct state_folder then = f->told ? f->status : f->row;
    f->status.messages = (uint32_t)status_number(p, list, "MESSAGES", then.messages);
    f->status.uidnext = (uint32_t)status_number(p, list, "UIDNEXT", then.uidnext);
    f->status.uidvalidity = (uint32_t)status_number(p, list, "UIDVALIDITY", then.uidvalidity);
    f->status.modseq = status_number(p, list, "HIGHESTMODSEQ", f->told ? then.modseq : 0);
    f->told = true;
}

void folder_list_on_mailbox(void *ctx, const struct imap_parser *p) {
    struct sync *s = ctx;
    if (imap_node_is(p, &p->nodes[0], "OK")) /* too much happens: the server tells no more */
        s->notify = false;
    if (imap_node_is(p, &p->nodes[0], "STATUS"))
        take_status(s, p);
    else
        s->folders->changed = true;
}

/* Asks about the folders that LIST told nothing of, all at once. */
static int status_read(struct sync *s, struct folder_list *l) {
    const char *modseq = s->imap->enabled & IMAP_CAP_CONDSTORE ? " HIGHESTMODSEQ" : "";
    int r = 0;
    for (size_t i = 0; r >= 0 && i < l->n; i++) {
        struct sync_folder *f = l->items[i];
        if (f->told || !f->listed)
            continue;
        while (r >= 0 && imap_open_commands(s->imap) >= 16)
            r = imap_next(s->imap, -1);
        if (r >= 0)
            r = imap_send(s->imap, "STATUS %s (" STATUS_ITEMS "%s)", f->quoted, modseq);
    }
    if (r >= 0)
        r = imap_drain(s->imap);
    return r < 0 ? r : 0;
}

bool folder_list_needs_pass(const struct sync_folder *f) {
    const struct state_folder *then = &f->row, *now = &f->status;
    if (f->dirty || f->again || f->all || local_touched(f))
        return true;
    return f->told && (now->modseq == 0 || then->modseq != now->modseq || then->uidnext != now->uidnext ||
                       then->uidvalidity != now->uidvalidity || then->messages != now->messages);
}

/* -- what left the server, and what came ---------------------------------------------------------------- */

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

/* Whether one of the newest messages of the copy is in the mailbox that may be the same under another name.
 * Readers may have changed some, and others may be gone there. */
static int is_same_mailbox(struct sync *s, const struct sync_folder *old, struct sync_folder *now,
                           bool *ret) {
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
        int code = r == 0 && uid ? measure_in(s, old, now->directory, uid, &samples[n_samples].content) : 1;
        if (code == 0)
            samples[n_samples++].uid = uid;
        r = code < 0 ? code : r;
    }
    if (r < 0 || n_samples == 0)
        return r;
    s->selected = NULL;
    r = imap_select(s->imap, now->quoted);
    if (r == 0)
        r = match_list(s, now, samples[n_samples - 1].uid, &list, &n);
    for (size_t i = 0; r == 0 && i < n; i++)
        for (size_t k = 0; k < n_samples; k++)
            *ret =
                *ret ||
                (list[i].uid == samples[k].uid && list[i].id == samples[k].content.id &&
                 (list[i].size == samples[k].content.size || list[i].size == samples[k].content.wire_size));
    return r < 0 ? r : 0;
}

/* The new mailbox that has the UIDVALIDITY of one that is gone, when there is only one. */
static struct sync_folder *find_renamed(const struct folder_list *l, const struct sync_folder *old) {
    struct sync_folder *found = NULL;
    for (size_t i = 0; i < l->n; i++) {
        struct sync_folder *f = l->items[i];
        if (f == old || !f->listed || !f->told || f->row.uidvalidity == f->status.uidvalidity ||
            f->status.uidvalidity != old->row.uidvalidity)
            continue;
        if (found)
            return NULL;
        found = f;
    }
    return found;
}

/* Removes the copy of a mailbox whose name another one has now. *ret_done: not, while it has to be confirmed.
 */
static int list_clear(struct sync *s, struct sync_folder *f, bool *ret_done) {
    struct state_counts counts = {0};
    bool left = false;
    int r = state_counts_of(s->state, f->row.id, &counts);
    *ret_done = r == 0 && (s->confirmed || !plan_is_suspicious((size_t)counts.have, (size_t)counts.have));
    return *ret_done ? maildir_remove(s->store.root, f->directory, f->row.hash, &left) : r;
}

/* A folder whose mailbox was renamed on the server moves, with its files. *ret_done: it was one. */
static int list_renamed(struct sync *s, struct folder_list *l, struct sync_folder *f, bool *ret_done) {
    struct sync_folder *now = f->row.uidvalidity ? find_renamed(l, f) : NULL;
    bool same = false;
    int r = now ? is_same_mailbox(s, f, now, &same) : 0;
    if (r < 0 || !same)
        return r;
    if (now->row.uidvalidity != 0) { /* the mailbox that had the name is gone */
        r = list_clear(s, now, &same);
        if (r < 0 || !same)
            return r;
    }
    r = maildir_rename(s->store.root, f->directory, now->directory);
    if (r == ERR_REFUSED || r == ERR_INVALID)
        return 0;
    if (r < 0)
        return r;
    cleanup(free) char *mailbox = strdup(now->mailbox), *directory = strdup(now->directory);
    struct state_folder status = now->status;
    if (!mailbox || !directory)
        return err_set(ERR_SYSTEM, "out of memory");
    l->moved = true;
    log_info("a mail folder was renamed on the server");
    r = folder_list_drop(s, l, now);
    if (r == 0)
        r = folder_list_rename(s, f, mailbox, directory);
    f->status = status;
    f->listed = f->told = *ret_done = true;
    return r;
}

/* A folder that LIST does not name goes only when the server also says that it does not exist. *ret_gone: it
 * is not in the list any more. */
static int list_remove(struct sync *s, struct folder_list *l, struct sync_folder *f, bool *ret_gone) {
    struct state_counts counts = {0};
    bool left = false;
    int r = f->quoted ? imap_command(s->imap, "STATUS %s (MESSAGES)", f->quoted) : IMAP_NO;
    if (r != IMAP_NO || (f->listed && s->imap->code != IMAP_CODE_NONEXISTENT))
        return r < 0 ? r : 0;
    r = state_counts_of(s->state, f->row.id, &counts);
    if (r < 0)
        return r;
    f->asks = plan_is_suspicious((size_t)counts.have, (size_t)counts.have) && !s->confirmed;
    if (f->asks) {
        f->problem[0] = '\0';
        sync_folder_problem(
            f,
            "the folder was deleted on the server, with %lld messages; its copy stays until `satchel "
            "sync --confirm-deletions`",
            (long long)counts.have);
        return 0;
    }
    log_info("a mail folder has left the server");
    r = maildir_remove(s->store.root, f->directory, f->row.hash, &left);
    if (r == 0)
        r = folder_list_drop(s, l, f);
    *ret_gone = r == 0;
    return r;
}

struct known {
    struct sync *sync;
    struct folder_list *list;
};

/* Folders of an earlier run that LIST did not name. */
static int list_known(void *ctx, const char *mailbox, const char *directory, const struct state_folder *row) {
    struct known *known = ctx;
    if (folder_list_find(known->list, row->id))
        return 0;
    cleanup(destroy) struct sync_folder *f = calloc(1, sizeof *f);
    if (!f)
        return err_set(ERR_SYSTEM, "out of memory");
    f->row = *row;
    f->fetch_below = f->large_below = UINT32_MAX;
    int r = set_names(f, known->sync->imap, mailbox, strlen(mailbox), directory);
    if (r == ERR_INVALID)
        return 0;
    if (r == 0)
        r = list_append(known->list, f);
    if (r == 0)
        f = NULL;
    return r;
}

static int list_sweep(struct sync *s, struct folder_list *l) {
    struct known known = {.sync = s, .list = l};
    int r = state_folders(s->state, list_known, &known);
    for (size_t i = 0; r == 0 && i < l->n;) {
        struct sync_folder *f = l->items[i];
        bool gone = false;
        /* Some that LIST names are not there (Dovecot 2.3.19, after a RENAME): then no STATUS came. */
        if (!f->listed || (!f->told && f->use == FOLDER_USE_NONE && f->row.uidvalidity)) {
            bool renamed = false;
            r = list_renamed(s, l, f, &renamed);
            if (r == 0 && !renamed)
                r = list_remove(s, l, f, &gone);
            if (r == 0 && renamed) { /* another one left the list */
                i = 0;
                continue;
            }
        }
        i += !gone;
    }
    return r;
}

static int by_name(const void *a, const void *b) {
    const struct sync_folder *x = *(struct sync_folder *const *)a, *y = *(struct sync_folder *const *)b;
    bool x_inbox = x->use == FOLDER_USE_INBOX, y_inbox = y->use == FOLDER_USE_INBOX;
    return x_inbox != y_inbox ? (x_inbox ? -1 : 1) : strcmp(x->directory, y->directory);
}

int folder_list_update(struct sync *s, struct folder_list *l) {
    bool inbox = false;
    l->moved = false;
    int r = list_read(s, l);
    if (r < 0)
        return r;
    for (size_t i = 0; i < l->n; i++)
        inbox = inbox || (l->items[i]->listed && l->items[i]->use == FOLDER_USE_INBOX);
    if (s->imap->result != IMAP_OK || !inbox) /* every account has one (RFC 3501 section 5.1) */
        return err_set(ERR_PROTOCOL, "the mail server does not list its folders: %s", s->imap->text);
    r = status_read(s, l);
    if (r == 0)
        r = list_sweep(s, l);
    if (l->n > 1)
        qsort(l->items, l->n, sizeof(void *), by_name);
    return r;
}
