#include "agent/mail/sync/list.h"
#include "agent/mail/sync/hook.h"
#include "agent/mail/sync/local.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

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

struct sync_folder *folder_list_find_mailbox(const struct folder_list *l, const char *mailbox, size_t n) {
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
    cleanup(buf) struct buf kept = {0};
    if (!f)
        return err_set(ERR_SYSTEM, "out of memory");
    f->dirty = true;
    f->fetch_below = f->large_below = UINT32_MAX;
    int r = set_names(f, s->imap, mailbox, n, directory);
    if (r == 0)
        r = state_folder_get(s->state, f->mailbox, f->directory, name_hash(f->mailbox, strlen(f->mailbox)),
                             &kept, &f->row);
    if (r < 0)
        return r;
    free(f->directory);
    f->directory = buf_steal(&kept);
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

/* The rows, first under names that nothing else has: their new ones may be old ones of others. */
static int rename_rows(struct sync *s, const struct folder_rename *list, size_t n) {
    char away[NAME_AWAY_SIZE];
    int r = 0;
    for (size_t i = 0; r == 0 && i < n; i++) {
        name_away(list[i].folder->row.hash, away);
        r = state_folder_rename(s->state, list[i].folder->row.id, away, away, false);
    }
    for (size_t i = 0; r == 0 && i < n; i++)
        r = state_folder_rename(s->state, list[i].folder->row.id, list[i].mailbox, list[i].directory,
                                list[i].renamed);
    return r;
}

int folder_list_rename(struct sync *s, const struct folder_rename *list, size_t n) {
    if (n == 0)
        return 0;
    int r = state_begin(s->state);
    if (r == 0)
        r = rename_rows(s, list, n);
    if (r == 0)
        r = state_commit(s->state);
    if (r < 0) {
        state_rollback(s->state);
        return r;
    }
    mail_hook_step();
    for (size_t i = 0; r == 0 && i < n; i++) {
        struct sync_folder *f = list[i].folder;
        f->row.renamed = list[i].renamed;
        if (s->selected == f)
            s->selected = NULL;
        f->opened = false;
        f->dirty = true;
        r = set_names(f, s->imap, list[i].mailbox, strlen(list[i].mailbox), list[i].directory);
    }
    return r;
}

int folder_list_ask(struct sync *s, struct sync_folder *f, const char *what, const char *until) {
    struct state_counts counts = {0};
    int r = state_counts_of(s->state, f->row.id, &counts);
    if (r < 0)
        return r;
    f->asks = plan_is_suspicious((size_t)counts.have, (size_t)counts.have) && !s->confirmed;
    if (f->asks) {
        f->problem[0] = '\0';
        sync_folder_problem(
            f, "the folder was %s, with %lld messages; %s until `satchel sync --confirm-deletions`", what,
            (long long)counts.have, until);
    }
    return 0;
}

int folder_list_home(const struct folder_list *l, const char *mailbox, struct buf *ret) {
    return name_folder(mailbox, strlen(mailbox), l->delimiter, ret);
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
    struct sync_folder *f = folder_list_find_mailbox(l, mailbox, n);
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

static const char *modseq_item(const struct sync *s) {
    return s->imap->enabled & IMAP_CAP_CONDSTORE ? " HIGHESTMODSEQ" : "";
}

static int list_read(struct sync *s, struct folder_list *l) {
    bool status = s->imap->capabilities & IMAP_CAP_LIST_STATUS;
    bool special =
        s->imap->capabilities & IMAP_CAP_SPECIAL_USE && s->imap->capabilities & IMAP_CAP_LIST_EXTENDED;
    for (size_t i = 0; i < l->n; i++)
        l->items[i]->listed = l->items[i]->told = false;
    l->problem[0] = '\0';
    l->changed = false;
    int r = status ? imap_send(s->imap, "LIST \"\" \"*\" RETURN (%sSTATUS (" STATUS_ITEMS "%s))",
                               special ? "SPECIAL-USE " : "", modseq_item(s))
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
    struct sync_folder *f = folder_list_find_mailbox(s->folders, name.data, name.len);
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
    int r = 0;
    for (size_t i = 0; r >= 0 && i < l->n; i++) {
        struct sync_folder *f = l->items[i];
        if (f->told || !f->listed)
            continue;
        while (r >= 0 && imap_open_commands(s->imap) >= 16)
            r = imap_next(s->imap, -1);
        if (r >= 0)
            r = imap_send(s->imap, "STATUS %s (" STATUS_ITEMS "%s)", f->quoted, modseq_item(s));
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

/* -- the whole ------------------------------------------------------------------------------------------ */

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

static int by_name(const void *a, const void *b) {
    const struct sync_folder *x = *(struct sync_folder *const *)a, *y = *(struct sync_folder *const *)b;
    bool x_inbox = x->use == FOLDER_USE_INBOX, y_inbox = y->use == FOLDER_USE_INBOX;
    return x_inbox != y_inbox ? (x_inbox ? -1 : 1) : strcmp(x->directory, y->directory);
}

void folder_list_sort(struct folder_list *l) {
    if (l->n > 1)
        qsort(l->items, l->n, sizeof(void *), by_name);
}

int folder_list_update(struct sync *s, struct folder_list *l) {
    struct known known = {.sync = s, .list = l};
    bool inbox = false;
    int r = list_read(s, l);
    if (r < 0)
        return r;
    for (size_t i = 0; i < l->n; i++)
        inbox = inbox || (l->items[i]->listed && l->items[i]->use == FOLDER_USE_INBOX);
    if (s->imap->result != IMAP_OK || !inbox) /* every account has one (RFC 3501 section 5.1) */
        return err_set(ERR_PROTOCOL, "the mail server does not list its folders: %s", s->imap->text);
    r = status_read(s, l);
    if (r == 0)
        r = state_folders(s->state, list_known, &known);
    if (r == 0)
        folder_list_sort(l);
    return r;
}
