#include "agent/mail/imap/date.h"
#include "agent/mail/imap/uidset.h"
#include "agent/mail/sync/folder.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CHUNK 100 /* messages of the first command: the newest are readable at once */
#define CHUNK 2000      /* of the later ones */
#define SET_MAX 7000    /* bytes of a UID set in one command */
#define BATCH 500       /* files that are made durable together */
#define BATCH_BYTES ((uint64_t)16 << 20)
#define BATCH_MS 2000
#define SMALL_BATCH 8 /* up to here fsync of each file is cheaper than syncfs */
#define MESSAGE_MAX ((uint64_t)4 << 30)

struct written {
    unsigned part;
    struct name_message name;
    uint8_t flags;
};

struct download {
    struct sync *sync;
    struct sync_folder *folder;
    const struct maildir *maildir;
    enum maildir_place unread; /* where a message without flags goes */
    struct written batch[BATCH];
    size_t n;
    uint64_t bytes;
    int64_t since; /* clock_boot_ms() of the first file in the batch */
    struct maildir_part part;
    bool streaming; /* `part` holds the body of the response that is being read */
    bool discard;   /* ... which is too large, or is not a body that was asked for */
    const uint32_t *wanted;
    size_t n_wanted, got;
    bool *have; /* owned: by index into wanted */
};

static enum maildir_place place_of(const struct download *d, const struct written *w) {
    return w->flags == 0 ? d->unread : MAILDIR_CUR;
}

static int batch_durable(struct download *d) {
    if (d->n > SMALL_BATCH)
        return store_sync(&d->sync->store);
    for (size_t i = 0; i < d->n; i++) {
        const struct written *w = &d->batch[i];
        int r = maildir_sync_file(d->maildir, &w->name, w->flags, place_of(d, w));
        if (r == MAILDIR_VANISHED) /* a reader was quick: its new name is not known here */
            return store_sync(&d->sync->store);
        if (r < 0)
            return r;
    }
    return maildir_sync_dirs(d->maildir);
}

static int batch_record(struct download *d) {
    struct state *state = d->sync->state;
    int r = state_begin(state);
    for (size_t i = 0; r == 0 && i < d->n; i++)
        r = state_message_put(state, d->folder->row.id,
                              &(struct plan_base){.uid = d->batch[i].name.uid, .flags = d->batch[i].flags});
    if (r == 0)
        return state_commit(state);
    state_rollback(state);
    return r;
}

/* Places the files, makes them durable, and only then commits them. */
static int batch_commit(struct download *d) {
    int r = 0;
    if (d->n == 0)
        return 0;
    for (size_t i = 0; r == 0 && i < d->n; i++) {
        const struct written *w = &d->batch[i];
        r = maildir_place(d->maildir, w->part, &w->name, w->flags, place_of(d, w));
    }
    if (r == 0)
        r = batch_durable(d);
    if (r == 0)
        r = batch_record(d);
    if (r < 0)
        return r;
    d->sync->done += (int64_t)d->n;
    d->sync->report->messages = d->sync->done;
    d->n = 0;
    d->bytes = 0;
    report_status(d->sync->report);
    return 0;
}

static int write_begin(struct download *d) {
    int r = maildir_part_open(d->maildir, d->sync->part++, &d->part);
    d->streaming = r == 0;
    return r;
}

static int write_data(struct download *d, const char *data, size_t n) {
    d->bytes += n;
    d->sync->bytes += (int64_t)n;
    return maildir_part_write(&d->part, data, n);
}

/* Closes and removes a file that came to nothing. */
static void write_drop(struct download *d) {
    if (!d->streaming)
        return;
    (void)maildir_part_close(&d->part, 0);
    maildir_part_drop(d->maildir, d->part.number);
    d->streaming = false;
}

/* A long literal begins: only the body of a FETCH is expected to be one. */
static int on_literal(struct download *d) {
    const struct imap_parser *p = &d->sync->imap->parser;
    uint64_t number = 0;
    d->discard = true;
    if (!imap_is_numbered(p, "FETCH", &number) || p->count < 3 ||
        !imap_node_is(p, &p->nodes[p->count - 2], "BODY[]"))
        return err_set(ERR_TOO_LARGE, "the mail server sent %llu bytes where a few were expected",
                       (unsigned long long)p->literal_left);
    if (d->streaming || p->literal_left > MESSAGE_MAX)
        return 0;
    d->discard = false;
    return write_begin(d);
}

static size_t find_wanted(const struct download *d, uint64_t uid) {
    size_t low = 0, high = d->n_wanted;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (d->wanted[middle] < uid)
            low = middle + 1;
        else
            high = middle;
    }
    return low < d->n_wanted && d->wanted[low] == uid ? low : SIZE_MAX;
}

/* Reads UID, FLAGS and INTERNALDATE; false when this is no message that was asked for. */
static bool read_attributes(struct download *d, struct written *w) {
    const struct imap_parser *p = &d->sync->imap->parser;
    const struct imap_node *uid = imap_attribute(p, 2, "UID"), *flags = imap_attribute(p, 2, "FLAGS"),
                           *date = imap_attribute(p, 2, "INTERNALDATE");
    uint64_t number = 0;
    if (!uid || !imap_node_number(p, uid, &number))
        return false;
    size_t index = find_wanted(d, number);
    if (index == SIZE_MAX || d->have[index])
        return false;
    *w = (struct written){.flags = (uint8_t)(flags ? imap_flags(p, flags) : 0),
                          .name = {.hash = d->folder->hash,
                                   .uidvalidity = d->folder->row.uidvalidity,
                                   .uid = (uint32_t)number}};
    if (!date || imap_date_parse(imap_node_text(p, date), date->len, &w->name.seconds) < 0)
        w->name.seconds = clock_real_ms() / 1000;
    return true;
}

/* The end of a FETCH response: the body is in `part`, or a short one is in the parser. */
static int on_fetch(struct download *d) {
    const struct imap_parser *p = &d->sync->imap->parser;
    const struct imap_node *body = imap_attribute(p, 2, "BODY[]");
    struct written w = {0};
    bool usable =
        body && body->type != IMAP_NIL && body->type != IMAP_LIST && !d->discard && read_attributes(d, &w);
    d->discard = false;
    if (!usable || (body->type == IMAP_STREAM) != d->streaming) {
        write_drop(d);
        return 0;
    }
    int r = 0;
    if (!d->streaming) {
        r = write_begin(d);
        if (r == 0)
            r = write_data(d, imap_node_text(p, body), body->len);
    }
    if (r < 0)
        return r;
    d->streaming = false;
    w.part = d->part.number;
    r = maildir_part_close(&d->part, w.name.seconds);
    if (r < 0)
        return r;
    d->have[find_wanted(d, w.name.uid)] = true;
    d->got++;
    if (d->n == 0)
        d->since = clock_boot_ms();
    d->batch[d->n++] = w;
    report_progress(d->sync->report, d->folder->directory, d->sync->done + (int64_t)d->n, d->sync->total,
                    d->sync->bytes);
    if (d->n == BATCH || d->bytes >= BATCH_BYTES || clock_boot_ms() - d->since > BATCH_MS)
        r = batch_commit(d);
    return r;
}

static int on_event(struct download *d, int event) {
    const struct imap_parser *p = &d->sync->imap->parser;
    uint64_t number = 0;
    switch (event) {
    case IMAP_NEXT_LITERAL:
        return on_literal(d);
    case IMAP_NEXT_DATA:
        return d->discard ? 0 : write_data(d, p->chunk, p->chunk_len);
    case IMAP_NEXT_UNTAGGED:
        return imap_is_numbered(p, "FETCH", &number) ? on_fetch(d) : 0;
    default:
        return 0;
    }
}

/* One command for as many of the wanted messages as its set holds. */
static int fetch(struct download *d, const uint32_t *uids, size_t n, size_t *ret_used) {
    struct imap_session *imap = d->sync->imap;
    cleanup(buf) struct buf set = {0};
    int r = uidset_write(uids, n, SET_MAX, &set, ret_used);
    if (r == 0)
        r = imap_send(imap, "UID FETCH %s (UID FLAGS INTERNALDATE BODY.PEEK[])", set.data);
    imap->stream = true;
    while (r >= 0 && (r = imap_next(imap, -1)) > 0 && r != IMAP_NEXT_DONE)
        r = on_event(d, r);
    imap->stream = false;
    write_drop(d);
    /* What came whole is kept, also where the rest did not come. */
    int kept = r < 0 && r != ERR_CANCELED && r != ERR_UNREACHABLE && r != ERR_TIMEOUT && r != ERR_PROTOCOL
                   ? r
                   : batch_commit(d);
    return r < 0 ? r : kept;
}

int sync_download(struct sync *s, struct sync_folder *f, const struct maildir *m, const uint32_t *uids,
                  size_t n, enum maildir_place place) {
    cleanup(free) struct download *d = calloc(1, sizeof *d);
    cleanup(free) bool *have = calloc(n, sizeof *have);
    if (!d || !have)
        return err_set(ERR_SYSTEM, "out of memory");
    *d = (struct download){.sync = s, .folder = f, .maildir = m, .unread = place, .part = {.fd = -1}};
    d->wanted = uids;
    d->n_wanted = n;
    d->have = have;
    int r = 0;
    for (size_t high = n, chunk = FIRST_CHUNK; r == 0 && high > 0; chunk = CHUNK) {
        size_t low = high > chunk ? high - chunk : 0;
        for (size_t at = low, used = 0; r == 0 && at < high; at += used)
            r = fetch(d, uids + at, high - at, &used);
        high = low;
    }
    if (r == 0 && d->got < n)
        (void)snprintf(f->problem, sizeof f->problem, "the server did not hand out %zu of %zu messages",
                       n - d->got, n);
    return r;
}
