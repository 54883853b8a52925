#include "agent/mail/sync/list.h"
#include "agent/mail/sync/name.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

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

static void destroy_cleanup(struct sync_folder **f) {
    sync_folder_destroy(*f);
}

/* A folder with copies of its names, or NULL. */
static struct sync_folder *folder_new(const char *mailbox, size_t n, const char *quoted,
                                      const char *directory) {
    struct sync_folder *f = calloc(1, sizeof *f);
    if (!f)
        return NULL;
    f->mailbox = name_is_inbox(mailbox, n) ? strdup("INBOX") : strndup(mailbox, n);
    f->quoted = strdup(quoted);
    f->directory = strdup(directory);
    f->hash = name_hash(mailbox, n);
    f->dirty = true;
    if (f->mailbox && f->quoted && f->directory)
        return f;
    sync_folder_destroy(f);
    return NULL;
}

/* Makes the folder of a mailbox. ERR_INVALID, ERR_TOO_LARGE, ERR_REFUSED: a name that cannot be kept. */
static int folder_make(struct sync *s, const char *mailbox, size_t n, char delimiter,
                       struct sync_folder **ret) {
    cleanup(buf) struct buf quoted = {0}, directory = {0};
    int r = name_folder(mailbox, n, delimiter, &directory);
    if (r == 0)
        r = imap_quote(mailbox, n, &quoted);
    if (r < 0 || !quoted.data || !directory.data)
        return r;
    cleanup(destroy) struct sync_folder *f = folder_new(mailbox, n, quoted.data, directory.data);
    if (!f)
        return err_set(ERR_SYSTEM, "out of memory");
    r = state_folder_get(s->state, f->mailbox, f->directory, &f->row);
    if (r == 0)
        *ret = steal(f);
    return r;
}

static struct sync_folder *find_mailbox(const struct folder_list *l, const char *mailbox, size_t n) {
    bool inbox = name_is_inbox(mailbox, n);
    for (size_t i = 0; i < l->n; i++)
        if (inbox ? strcmp(l->items[i]->mailbox, "INBOX") == 0
                  : strlen(l->items[i]->mailbox) == n && memcmp(l->items[i]->mailbox, mailbox, n) == 0)
            return l->items[i];
    return NULL;
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

/* One mailbox of the answer. What cannot be kept is passed over and said; the others go on. */
static int list_take(struct sync *s, struct folder_list *l, const char *mailbox, size_t n, char delimiter) {
    struct sync_folder *f = find_mailbox(l, mailbox, n);
    if (f) {
        f->listed = true;
        return 0;
    }
    int r = folder_make(s, mailbox, n, delimiter, &f);
    if (r == ERR_INVALID || r == ERR_TOO_LARGE || r == ERR_REFUSED) {
        (void)snprintf(l->problem, sizeof l->problem, "a folder of the server is left out: %s", err_text());
        return 0;
    }
    if (r < 0 || !f)
        return r;
    f->listed = true;
    r = list_append(l, f);
    if (r < 0)
        sync_folder_destroy(f);
    return r;
}

static bool is_selectable(const struct imap_parser *p, const struct imap_node *attributes) {
    uint32_t i = (uint32_t)(attributes - p->nodes) + 1;
    for (const struct imap_node *n; (n = imap_node_at(p, i, attributes->end)); i = n->end)
        if (imap_node_is(p, n, "\\Noselect") || imap_node_is(p, n, "\\NonExistent"))
            return false;
    return true;
}

/* "* LIST (attributes) delimiter mailbox" (RFC 3501 section 7.2.2). */
static int list_response(struct sync *s, struct folder_list *l) {
    const struct imap_parser *p = &s->imap->parser;
    if (!imap_node_is(p, &p->nodes[0], "LIST") || p->count < 4 || p->nodes[1].type != IMAP_LIST)
        return 0;
    const struct imap_node *delimiter = imap_node_at(p, p->nodes[1].end, p->count);
    const struct imap_node *mailbox = delimiter ? imap_node_at(p, delimiter->end, p->count) : NULL;
    if (!mailbox || mailbox->type == IMAP_LIST || !is_selectable(p, &p->nodes[1]))
        return 0;
    char separator =
        delimiter->type != IMAP_NIL && delimiter->len == 1 ? *imap_node_text(p, delimiter) : '\0';
    return list_take(s, l, imap_node_text(p, mailbox), mailbox->len, separator);
}

static int by_name(const void *a, const void *b) {
    const struct sync_folder *x = *(struct sync_folder *const *)a, *y = *(struct sync_folder *const *)b;
    bool x_inbox = strcmp(x->mailbox, "INBOX") == 0, y_inbox = strcmp(y->mailbox, "INBOX") == 0;
    return x_inbox != y_inbox ? (x_inbox ? -1 : 1) : strcmp(x->directory, y->directory);
}

/* A folder that LIST does not name goes only when the server also says that it does not exist. */
static int list_remove(struct sync *s, struct sync_folder *f, bool *ret_gone) {
    int r = imap_command(s->imap, "STATUS %s (MESSAGES)", f->quoted);
    *ret_gone = r == IMAP_NO;
    if (r != IMAP_NO)
        return r < 0 ? r : 0;
    log_info("a mail folder has left the server");
    r = maildir_remove(s->store.root, f->directory, f->hash);
    if (r == 0)
        r = state_begin(s->state);
    if (r < 0)
        return r;
    r = state_folder_remove(s->state, f->row.id);
    r = r == 0 ? state_commit(s->state) : r;
    if (r < 0)
        state_rollback(s->state);
    return r < 0 ? r : state_count(s->state, &s->done);
}

struct known {
    struct sync *sync;
    struct folder_list *list;
};

/* Folders of an earlier run that LIST did not name. */
static int list_known(void *ctx, const char *mailbox, const char *directory, int64_t folder) {
    struct known *known = ctx;
    if (folder_list_find(known->list, folder))
        return 0;
    cleanup(buf) struct buf quoted = {0};
    size_t n = strlen(mailbox);
    if (imap_quote(mailbox, n, &quoted) < 0 || !quoted.data)
        return 0;
    cleanup(destroy) struct sync_folder *f = folder_new(mailbox, n, quoted.data, directory);
    if (!f)
        return err_set(ERR_SYSTEM, "out of memory");
    f->row.id = folder;
    int r = list_append(known->list, f);
    if (r == 0)
        f = NULL;
    return r;
}

static int list_sweep(struct sync *s, struct folder_list *l) {
    struct known known = {.sync = s, .list = l};
    int r = state_folders(s->state, list_known, &known);
    for (size_t i = 0; r == 0 && i < l->n;) {
        bool gone = false;
        if (!l->items[i]->listed)
            r = list_remove(s, l->items[i], &gone);
        if (r == 0 && !l->items[i]->listed) { /* gone, or for now not to be synced */
            sync_folder_destroy(l->items[i]);
            l->items[i] = l->items[--l->n];
            continue;
        }
        i++;
    }
    if (l->n > 1)
        qsort(l->items, l->n, sizeof(void *), by_name);
    return r;
}

int folder_list_update(struct sync *s, struct folder_list *l) {
    bool inbox = false;
    l->problem[0] = '\0';
    for (size_t i = 0; i < l->n; i++)
        l->items[i]->listed = false;
    int r = imap_send(s->imap, "LIST \"\" \"*\"");
    while (r >= 0 && (r = imap_next(s->imap, -1)) > 0 && r != IMAP_NEXT_DONE)
        if (r == IMAP_NEXT_UNTAGGED)
            r = list_response(s, l);
    if (r < 0)
        return r;
    for (size_t i = 0; i < l->n; i++)
        inbox = inbox || (l->items[i]->listed && strcmp(l->items[i]->mailbox, "INBOX") == 0);
    if (s->imap->result != IMAP_OK || !inbox) /* every account has one (RFC 3501 section 5.1) */
        return err_set(ERR_PROTOCOL, "the mail server does not list its folders: %s", s->imap->text);
    return list_sweep(s, l);
}

static uint64_t status_number(const struct imap_parser *p, uint32_t list, const char *key) {
    const struct imap_node *n = imap_attribute(p, list, key);
    uint64_t number = 0;
    return n && imap_node_number(p, n, &number) ? number : 0;
}

/* STATUS of the selected mailbox may tell what the session has seen, not what there is (RFC 3501
 * section 6.3.10). */
static int status_of_selected(struct sync *s, struct sync_folder *f) {
    const struct imap_session *imap = s->imap;
    int r = imap_select(s->imap, f->quoted);
    if (r != IMAP_OK)
        s->selected = NULL;
    f->status = (struct state_folder){.id = f->row.id,
                                      .messages = imap->exists,
                                      .uidnext = imap->uidnext,
                                      .uidvalidity = imap->uidvalidity,
                                      .modseq = imap->modseq};
    return r;
}

static int status_of_other(struct sync *s, struct sync_folder *f) {
    bool modseq = s->imap->capabilities & IMAP_CAP_CONDSTORE;
    int r = imap_send(s->imap, "STATUS %s (MESSAGES UIDNEXT UIDVALIDITY%s)", f->quoted,
                      modseq ? " HIGHESTMODSEQ" : "");
    f->status = (struct state_folder){.id = f->row.id};
    while (r >= 0 && (r = imap_next(s->imap, -1)) > 0 && r != IMAP_NEXT_DONE) {
        const struct imap_parser *p = &s->imap->parser;
        if (r != IMAP_NEXT_UNTAGGED || !imap_node_is(p, &p->nodes[0], "STATUS") || p->count < 3)
            continue;
        uint32_t list = p->nodes[1].end;
        f->status.messages = (uint32_t)status_number(p, list, "MESSAGES");
        f->status.uidnext = (uint32_t)status_number(p, list, "UIDNEXT");
        f->status.uidvalidity = (uint32_t)status_number(p, list, "UIDVALIDITY");
        f->status.modseq = status_number(p, list, "HIGHESTMODSEQ");
    }
    return r < 0 ? r : (int)s->imap->result;
}

int folder_list_status(struct sync *s, struct sync_folder *f) {
    int r = s->selected == f ? status_of_selected(s, f) : status_of_other(s, f);
    if (r > 0)
        (void)snprintf(f->problem, sizeof f->problem, "the server does not open the folder: %.120s",
                       s->imap->text);
    return r;
}

bool folder_list_needs_pass(const struct sync_folder *f) {
    const struct state_folder *then = &f->row, *now = &f->status;
    return f->dirty || f->touched || f->pending > 0 || now->modseq == 0 || then->modseq != now->modseq ||
           then->uidnext != now->uidnext || then->uidvalidity != now->uidvalidity ||
           then->messages != now->messages;
}
