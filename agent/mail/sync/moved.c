#include "agent/mail/sync/moved.h"
#include "agent/mail/imap/uidset.h"
#include "agent/mail/sync/list.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEADER_MAX 65536  /* bytes read of a file to find its Message-ID */
#define WAITING_MAX 20000 /* files that are looked at; with more, every removal is held back */
#define HEADER "BODY[HEADER.FIELDS (MESSAGE-ID)]"

/* The files that wait. */
struct waiting {
    const struct sync_folder *folder;
    const uint32_t *uids;
    size_t n_uids;
    bool *held;
    uint64_t *ids; /* owned: hashes of Message-IDs; a collision only holds one message back */
    size_t n;
    bool unknown; /* some have no Message-ID, and may be anything */
};

static void waiting_cleanup(struct waiting *w) {
    free(w->ids);
}

static void waiting_file(struct waiting *w, const struct maildir *m, const char *entry) {
    cleanup(fd) int fd = -1;
    cleanup(free) char *head = malloc(HEADER_MAX);
    struct name_message name;
    const char *suffix = NULL;
    if (name_parse(entry + 1, &name, &suffix) && name.hash == w->folder->row.hash &&
        name.uidvalidity == w->folder->row.uidvalidity)
        for (size_t i = 0; i < w->n_uids; i++)
            w->held[i] = w->held[i] || w->uids[i] == name.uid;
    int r = head ? maildir_entry_open(m, entry, &fd) : ERR_SYSTEM;
    ssize_t n = r == 0 ? pread(fd, head, HEADER_MAX, 0) : -1;
    if (r == MAILDIR_VANISHED || r == ERR_INVALID || n == 0)
        return;
    uint64_t id = n > 0 ? content_id(head, (size_t)n) : 0;
    w->unknown = w->unknown || id == 0;
    if (id)
        w->ids[w->n++] = id;
}

static int waiting_read(struct sync *s, struct waiting *w) {
    w->ids = calloc(WAITING_MAX, sizeof *w->ids);
    if (!w->ids)
        return err_set(ERR_SYSTEM, "out of memory");
    for (size_t i = 0; i < s->folders->n; i++) {
        const struct sync_folder *f = s->folders->items[i];
        cleanup(maildir) struct maildir m = MAILDIR_INIT;
        bool made = false;
        if (f->foreign.len == 0)
            continue;
        int r = maildir_open(s->store.root, f->directory, false, &made, &m);
        if (r < 0 && r != ERR_INVALID)
            return r;
        for (size_t at = 0; r == 0 && at < f->foreign.len && w->n < WAITING_MAX;
             at += strlen(f->foreign.data + at) + 1)
            waiting_file(w, &m, f->foreign.data + at);
    }
    return 0;
}

static bool waiting_has(const struct waiting *w, uint64_t id) {
    for (size_t i = 0; i < w->n; i++)
        if (w->ids[i] == id)
            return true;
    return id == 0 && w->unknown;
}

/* One FETCH response with the Message-ID of a removed message. */
static void waiting_compare(struct waiting *w, const struct imap_parser *p, bool *told) {
    uint64_t number = 0;
    if (!imap_is_numbered(p, "FETCH", &number))
        return;
    const struct imap_node *uid = imap_attribute(p, 2, "UID"), *header = imap_attribute(p, 2, HEADER);
    if (!uid || !imap_node_number(p, uid, &number) || !header || header->type != IMAP_STRING)
        return;
    for (size_t i = 0; i < w->n_uids; i++) {
        if (w->uids[i] != number)
            continue;
        told[i] = true;
        w->held[i] = w->held[i] || waiting_has(w, content_id(imap_node_text(p, header), header->len));
    }
}

int moved_find(struct sync *s, const struct sync_folder *f, const uint32_t *uids, size_t n, bool *held) {
    cleanup(waiting) struct waiting w = {.folder = f, .uids = uids, .n_uids = n, .held = held};
    cleanup(free) bool *told = calloc(n + 1, sizeof *told);
    size_t any = 0;
    for (size_t i = 0; i < s->folders->n; i++)
        any += s->folders->items[i]->foreign.len;
    if (s->folders->homeless) {
        memset(held, true, n);
        return 0;
    }
    if (any == 0)
        return 0;
    if (!told)
        return err_set(ERR_SYSTEM, "out of memory");
    int r = waiting_read(s, &w);
    if (r == 0 && w.n == WAITING_MAX)
        memset(held, true, n);
    for (size_t at = 0, used = 0; r == 0 && at < n; at += used) {
        cleanup(buf) struct buf set = {0};
        r = uidset_write(uids + at, n - at, FOLDER_SET_MAX, &set, &used);
        if (r == 0)
            r = imap_send(s->imap, "UID FETCH %s (UID BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])", set.data);
        while (r >= 0 && (r = imap_next(s->imap, -1)) > 0 && r != IMAP_NEXT_DONE)
            if (r == IMAP_NEXT_UNTAGGED)
                waiting_compare(&w, &s->imap->parser, told);
        r = r > 0 ? 0 : r;
    }
    for (size_t i = 0; r == 0 && i < n; i++)
        held[i] = held[i] || !told[i];
    return r;
}
