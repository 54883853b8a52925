#include "agent/mail/sync/tree.h"
#include "agent/mail/sync/hook.h"
#include "agent/mail/sync/place.h"
#include "agent/mail/sync/remote.h"
#include "agent/mail/sync/renaming.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/base/log.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

__attribute__((format(printf, 2, 3))) static void trouble(struct folder_list *l, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(l->trouble, sizeof l->trouble, fmt, args);
    va_end(args);
}

/* -- renamed -------------------------------------------------------------------------------------------- */

#define ASIDE "satchel-%08x"

bool tree_is_aside(const struct sync_folder *f, const char *mailbox) {
    char name[NAME_AWAY_SIZE];
    (void)snprintf(name, sizeof name, ASIDE, f->row.hash);
    size_t n = strlen(name), length = strlen(mailbox);
    return length >= n && strcmp(mailbox + length - n, name) == 0;
}

/* A free name beside the one that the folder has. */
static char *aside_of(const struct sync_folder *f, char delimiter) {
    const char *last = delimiter ? strrchr(f->mailbox, delimiter) : NULL;
    char *out = NULL;
    return asprintf(&out, "%.*s" ASIDE, last ? (int)(last - f->mailbox) + 1 : 0, f->mailbox, f->row.hash) < 0
               ? NULL
               : out;
}

/* The mailboxes that folders are to have. */
struct wishes {
    char **mailboxes;       /* owned, each owned; NULL: the one that it has */
    struct renaming *names; /* owned: the same, for renaming.h */
    size_t n;
};

static void wishes_cleanup(struct wishes *w) {
    for (size_t i = 0; i < w->n; i++)
        free(w->mailboxes[i]);
    free(w->mailboxes);
    free(w->names);
}

static int wishes_make(struct folder_list *l, struct wishes *w, bool *ret_any) {
    int r = 0;
    w->mailboxes = calloc(l->n + 1, sizeof *w->mailboxes);
    w->names = calloc(l->n + 1, sizeof *w->names);
    if (!w->mailboxes || !w->names)
        return err_set(ERR_SYSTEM, "out of memory");
    for (w->n = 0; w->n < l->n; w->n++) {
        const struct sync_folder *f = l->items[w->n];
        cleanup(buf) struct buf mailbox = {0};
        if (!f->row.renamed || !f->listed || name_is_away(f->directory))
            continue;
        r = name_mailbox(f->directory, l->delimiter, &mailbox);
        if (r < 0) {
            trouble(l, "the folder \"%.80s\" keeps its old name on the server: %.80s", f->directory,
                    err_text());
            continue;
        }
        w->mailboxes[w->n] = buf_steal(&mailbox);
        *ret_any = true;
    }
    return 0;
}

/* Also where it was put aside. */
static bool is_on_disk(const struct sync *s, const struct sync_folder *f) {
    char cur[NAME_PATH_MAX + 8];
    (void)snprintf(cur, sizeof cur, "%s/cur", f->directory);
    return faccessat(s->store.root, cur, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Whether the directory of a folder below one that was renamed was left where it is: it goes back. One that
 * is nowhere goes along. */
static bool stays(const struct sync *s, const struct folder_list *l, const struct sync_folder *f,
                  const char *home) {
    return f->row.renamed || name_is_away(f->directory) || folder_list_find_directory(l, home) ||
           is_on_disk(s, f);
}

/* New names of a folder; owned. */
struct names {
    char *mailbox, *directory;
    bool renamed;
};

/* What a folder is called by now, when one that it is below of, or itself, was renamed. */
static int names_below(const struct sync *s, const struct folder_list *l, const struct sync_folder *f,
                       const char *from, const char *to, struct names *ret) {
    const char *rest = renaming_below(f->mailbox, from, l->delimiter);
    cleanup(buf) struct buf mailbox = {0}, home = {0};
    int r = buf_printf(&mailbox, "%s%s", to, rest ? rest : "");
    if (r == 0)
        r = folder_list_home(l, mailbox.data, &home);
    if (r < 0 || !home.data)
        return r;
    ret->directory = strdup(stays(s, l, f, home.data) ? f->directory : home.data);
    if (!ret->directory)
        return err_set(ERR_SYSTEM, "out of memory");
    ret->renamed = !name_is_away(ret->directory) && strcmp(ret->directory, home.data) != 0;
    ret->mailbox = buf_steal(&mailbox);
    return 0;
}

/* What is left of one that is not on the server any more, and waits for a confirmation. */
static int names_aside(const struct folder_list *l, const struct sync_folder *f, struct names *ret) {
    ret->mailbox = aside_of(f, l->delimiter);
    ret->directory = strdup(f->directory);
    return ret->mailbox && ret->directory ? 0 : err_set(ERR_SYSTEM, "out of memory");
}

/* The rows of a mailbox and of all below it, which the server renamed with it. */
static int write_down(struct sync *s, struct folder_list *l, struct sync_folder *f, const char *to) {
    cleanup(free) struct folder_rename *renames = calloc(l->n + 1, sizeof *renames);
    cleanup(free) struct names *names = calloc(l->n + 1, sizeof *names);
    cleanup(free) char *from = strdup(f->mailbox);
    size_t n = 0;
    int r = 0;
    if (!renames || !names || !from)
        return err_set(ERR_SYSTEM, "out of memory");
    for (size_t i = 0; r == 0 && i < l->n; i++) {
        struct sync_folder *other = l->items[i];
        bool moves = other == f || renaming_below(other->mailbox, from, l->delimiter);
        bool stays =
            !moves && (strcmp(other->mailbox, to) == 0 || renaming_below(other->mailbox, to, l->delimiter));
        if (!moves && (!stays || other->listed))
            continue;
        r = moves ? names_below(s, l, other, from, to, &names[i]) : names_aside(l, other, &names[i]);
        renames[n++] = (struct folder_rename){.folder = other,
                                              .mailbox = names[i].mailbox,
                                              .directory = names[i].directory,
                                              .renamed = names[i].renamed};
    }
    if (r == 0)
        r = folder_list_rename(s, renames, n);
    for (size_t i = 0; i < l->n; i++) {
        free(names[i].mailbox);
        free(names[i].directory);
    }
    return r;
}

static int rename_one(struct sync *s, struct folder_list *l, struct sync_folder *f, const char *to,
                      bool *ret_refused) {
    cleanup(buf) struct buf quoted = {0};
    int r = imap_quote(s->imap, to, strlen(to), &quoted);
    if (r < 0)
        return r;
    s->selected = NULL;
    r = imap_command(s->imap, "RENAME %s %s", f->quoted, quoted.data);
    if (r > 0) {
        trouble(l, "the server does not rename a folder to \"%.80s\": %.80s", f->directory, s->imap->text);
        *ret_refused = true;
        return 0;
    }
    if (r < 0)
        return r;
    mail_hook_step();
    log_info("a mail folder was renamed on this device");
    return write_down(s, l, f, to);
}

/* A mailbox of that name has come on the server in the meantime: the directory goes back. */
static int give_way(struct sync *s, struct folder_list *l) {
    int r = 0;
    for (size_t i = 0; r == 0 && i < l->n; i++) {
        struct sync_folder *f = l->items[i], *other = NULL;
        cleanup(buf) struct buf mailbox = {0}, home = {0};
        if (!f->row.renamed || !f->listed || name_is_away(f->directory) ||
            name_mailbox(f->directory, l->delimiter, &mailbox) < 0 ||
            folder_list_home(l, f->mailbox, &home) < 0)
            continue;
        other = folder_list_find_mailbox(l, mailbox.data, mailbox.len);
        if (!other || other == f || !other->listed || other->row.uidvalidity || other->born_here ||
            folder_list_find_directory(l, home.data))
            continue;
        r = maildir_rename(s->store.root, f->directory, home.data);
        if (r == 0) {
            cleanup(free) char *taken = strdup(f->directory);
            const struct folder_rename both[] = {
                {.folder = f, .mailbox = f->mailbox, .directory = home.data},
                {.folder = other, .mailbox = other->mailbox, .directory = taken}};
            r = taken ? folder_list_rename(s, both, 2) : err_set(ERR_SYSTEM, "out of memory");
        }
        r = r == ERR_REFUSED || r == ERR_INVALID || r > 0 ? 0 : r;
    }
    return r;
}

static int rename_all(struct sync *s, struct folder_list *l) {
    cleanup(wishes) struct wishes w = {0};
    bool any = false;
    int r = give_way(s, l);
    if (r == 0)
        r = wishes_make(l, &w, &any);
    while (r == 0 && any) {
        size_t which = 0;
        bool refused = false;
        for (size_t i = 0; i < w.n; i++)
            w.names[i] = (struct renaming){.now = l->items[i]->mailbox,
                                           .wanted = w.mailboxes[i] ? w.mailboxes[i] : l->items[i]->mailbox};
        enum renaming_what what = renaming_next(w.names, w.n, l->delimiter, &which);
        if (what == RENAMING_NONE)
            break;
        struct sync_folder *f = l->items[which];
        cleanup(free) char *to =
            what == RENAMING_FINAL ? strdup(w.mailboxes[which]) : aside_of(f, l->delimiter);
        r = to ? rename_one(s, l, f, to, &refused) : err_set(ERR_SYSTEM, "out of memory");
        if (refused || r == ERR_INVALID) {
            free(w.mailboxes[which]);
            w.mailboxes[which] = NULL;
            r = 0;
        }
    }
    return r;
}

/* -- made ----------------------------------------------------------------------------------------------- */

static int tree_create(struct sync *s, struct folder_list *l, const char *directory, uint64_t inode) {
    cleanup(buf) struct buf mailbox = {0}, quoted = {0};
    int r = name_mailbox(directory, l->delimiter, &mailbox);
    if (r == 0)
        r = imap_quote(s->imap, mailbox.data, mailbox.len, &quoted);
    if (r < 0)
        return r;
    if (folder_list_find_mailbox(l, mailbox.data, mailbox.len)) { /* which is elsewhere here */
        l->waiting = true;
        return 0;
    }
    r = imap_command(s->imap, "CREATE %s", quoted.data);
    if (r < 0)
        return r;
    mail_hook_step();
    if (r > 0 && s->imap->code != IMAP_CODE_ALREADYEXISTS) {
        trouble(l, "the server does not make the folder \"%.80s\": %.80s", directory, s->imap->text);
        l->homeless = true;
        return 0;
    }
    r = folder_list_add(s, l, mailbox.data, directory);
    struct sync_folder *f = r == 0 ? folder_list_find_directory(l, directory) : NULL;
    if (!f || f->row.uidvalidity != 0)
        return r;
    f->born_here = true;
    f->row.uidnext = FOLDER_BORN_HERE; /* also after a crash */
    f->row.inode = inode;
    return state_folder_put(s->state, &f->row);
}

int tree_update(struct sync *s, struct folder_list *l, const struct directories *t) {
    l->trouble[0] = '\0';
    l->homeless = l->waiting = false;
    int r = rename_all(s, l);
    for (size_t i = 0; r == 0 && i < t->n; i++) {
        const char *path = t->items[i].path;
        if (folder_list_find_directory(l, path))
            continue;
        r = tree_create(s, l, path, t->items[i].inode);
        if (r == ERR_INVALID || r == ERR_TOO_LARGE || r == ERR_REFUSED) {
            trouble(l, "the folder \"%.80s\" stays on this device: %.80s", path, err_text());
            l->homeless = true;
            r = 0;
        }
    }
    return r;
}

/* -- removed -------------------------------------------------------------------------------------------- */

/* The directory that the folder had of right: whoever has it goes back to its own. */
static int come_home(struct sync *s, struct folder_list *l, struct sync_folder *f) {
    cleanup(buf) struct buf home = {0}, theirs = {0};
    if (!name_is_away(f->directory))
        return 0;
    int r = folder_list_home(l, f->mailbox, &home);
    struct sync_folder *other = r == 0 ? folder_list_find_directory(l, home.data) : NULL;
    if (other)
        r = folder_list_home(l, other->mailbox, &theirs);
    if (r == 0 && other)
        r = folder_list_find_directory(l, theirs.data)
                ? err_set(ERR_REFUSED, "a folder of that name is already there")
                : maildir_rename(s->store.root, home.data, theirs.data);
    if (r < 0)
        return r;
    const struct folder_rename renames[] = {
        {.folder = f, .mailbox = f->mailbox, .directory = home.data},
        {.folder = other, .mailbox = other ? other->mailbox : NULL, .directory = theirs.data}};
    return folder_list_rename(s, renames, other ? 2 : 1);
}

static int tree_bring_back(struct sync *s, struct folder_list *l, struct sync_folder *f) {
    cleanup(maildir) struct maildir m = MAILDIR_INIT;
    bool made = false;
    int r = come_home(s, l, f);
    if (r == ERR_REFUSED || r == ERR_INVALID || r == ERR_TOO_LARGE) {
        trouble(l, "the folder \"%.80s\" does not come back: %.80s", f->mailbox, err_text());
        return 0;
    }
    if (r >= 0)
        r = maildir_open(s->store.root, f->directory, true, &made, &m);
    if (r == 0)
        r = state_want(s->state, f->row.id, 0, true);
    f->opened = false;
    f->dirty = true;
    f->fetch_below = f->large_below = UINT32_MAX;
    return r < 0 ? r : state_counts_all(s->state, &s->counts);
}

/* Whether the server holds nothing that was not in the copy. */
static int is_known(struct sync *s, struct sync_folder *f, bool *ret) {
    cleanup(remote) struct remote there = {0};
    s->selected = NULL;
    int r = imap_select(s->imap, f->quoted);
    if (r != IMAP_OK || (s->imap->uidvalidity != f->row.uidvalidity && !f->born_here))
        return r < 0 ? r : 0;
    r = remote_read_all(s, f, &there);
    bool known = there.complete;
    for (size_t i = 0; r == 0 && known && i < there.n; i++) {
        struct state_message row = {0};
        r = state_message_get(s->state, f->row.id, there.items[i].uid, &row);
        known = r == 0 && (row.kind == PLAN_HAVE || row.kind == PLAN_GONE);
        r = r > 0 ? 0 : r;
    }
    if (r < 0)
        return r;
    *ret = known;
    /* out of it again, or it cannot be deleted everywhere */
    r = imap_select(s->imap, "INBOX");
    return r < 0 ? r : 0;
}

/* Whether the folder's directory is gone, by a look at the disk as it is now. */
static int is_gone(struct sync *s, struct folder_list *l, const struct sync_folder *f, bool *ret) {
    cleanup(directories) struct directories t = {0};
    int r = directories_read(s, &t);
    if (r == 0)
        r = place_update(s, l, &t);
    *ret = r == 0 && !directories_find(&t, f->directory) && !is_on_disk(s, f);
    return r;
}

/* *ret_dropped: the folder is gone. */
static int tree_remove(struct sync *s, struct folder_list *l, struct sync_folder *f, bool *ret_dropped) {
    bool known = false, gone = false;
    int r = folder_list_ask(s, f, "removed on this device", "it stays on the server");
    if (r < 0 || f->asks)
        return r;
    r = is_known(s, f, &known);
    if (r == 0)
        r = is_gone(s, l, f, &gone); /* again, for a reader may have renamed it a moment ago */
    if (r < 0 || !gone)
        return r;
    r = known ? imap_command(s->imap, "DELETE %s", f->quoted) : IMAP_NO;
    if (r < 0)
        return r;
    if (r > 0) {
        log_info("a mail folder that was removed on this device comes back");
        return tree_bring_back(s, l, f);
    }
    mail_hook_step();
    log_info("a mail folder was removed on this device");
    *ret_dropped = true;
    return folder_list_drop(s, l, f);
}

static bool may_be_gone(const struct sync_folder *f, const struct directories *t) {
    return f->use == FOLDER_USE_NONE && (f->row.uidvalidity != 0 || f->born_here) && f->listed &&
           !directories_find(t, f->directory);
}

int tree_delete(struct sync *s, struct folder_list *l) {
    cleanup(directories) struct directories t = {0};
    bool any = false;
    if (l->homeless)
        return 0;
    for (size_t i = 0; i < l->n; i++)
        if (l->items[i]->foreign.len)
            return 0;
    int r = directories_read(s, &t);
    if (r == 0)
        r = place_update(s, l, &t);
    for (size_t i = l->n; r == 0 && i > 0; i--) { /* what lies below others first */
        bool dropped = false;
        struct sync_folder *f = l->items[i - 1];
        if (!may_be_gone(f, &t) || (l->waiting && !name_is_away(f->directory)))
            continue;
        r = tree_remove(s, l, f, &dropped);
        any = any || dropped;
    }
    if (r == 0 && any)
        r = rename_all(s, l);
    return r == 0 && any && l->waiting ? TREE_AGAIN : r;
}
