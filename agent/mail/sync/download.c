#include "agent/mail/sync/download.h"
#include "agent/mail/imap/date.h"
#include "agent/mail/imap/uidset.h"
#include "agent/mail/sync/hook.h"
#include "agent/mail/sync/work.h"
#include "agent/mail/sync/writer.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FEW 100      /* messages of a first step: the newest are readable at once */
#define MANY 8000    /* of the later ones, at most */
#define SIZED 2000   /* where their sizes are asked for first */
#define STEP_MS 1000 /* after which a step asks for no more of them */
#define INLINE 16    /* messages for which a thread is not worth it */
#define SET 250      /* messages of one command */
#define AHEAD 3      /* commands that are open at the same time */
#define BATCH 500    /* files that are made durable together */
#define BATCH_BYTES ((uint64_t)16 << 20)
#define BATCH_MS 2000
#define SMALL_BATCH 8                  /* up to here fsync of each file is cheaper than syncfs */
#define PIECE ((uint64_t)2 << 20)      /* of a long message */
#define STEP_BYTES ((uint64_t)8 << 20) /* of one, before others have their turn */
#define MESSAGE_MAX ((uint64_t)4 << 30)
#define ABANDON ((uint64_t)4 << 20) /* bytes of a message that no other is to wait for */

struct download {
    struct sync *sync;
    struct sync_folder *folder;
    struct maildir maildir;
    enum maildir_place unread; /* where a message without flags goes */
    struct state_message batch[BATCH];
    size_t n;
    struct state_message syncing[BATCH]; /* an earlier batch, which a thread makes durable meanwhile */
    size_t n_syncing;
    pthread_t thread;
    int synced; /* what came of it */
    struct writer *writer;
    char trouble[160];
    uint64_t bytes;
    int64_t since; /* clock_boot_ms() of the first file in the batch */
    struct maildir_part part;
    uint64_t part_bytes;
    uint32_t part_crc;
    bool streaming;        /* `part` holds the body of the response that is being read */
    bool discard;          /* ... which is too large, or is not a body that was asked for */
    uint32_t wanted[MANY]; /* rising */
    size_t n_wanted, got;
    bool have[MANY];
};

static void download_cleanup(struct download **d) {
    if (!*d)
        return;
    if ((*d)->n_syncing) /* after an error: what it made durable comes again */
        (void)pthread_join((*d)->thread, NULL);
    writer_stop((*d)->writer);
    maildir_part_close(&(*d)->part);
    maildir_close(&(*d)->maildir);
    free(*d);
}

/* -- batches -------------------------------------------------------------------------------------------- */

static int batch_durable(struct download *d) {
    if (d->n > SMALL_BATCH)
        return store_sync(&d->sync->store);
    for (size_t i = 0; i < d->n; i++) {
        const struct state_message *row = &d->batch[i];
        int r = maildir_sync_file(&d->maildir, row->uid, row->seconds, row->flags, d->unread);
        if (r == MAILDIR_VANISHED) /* a reader was quick: its new name is not known here */
            return store_sync(&d->sync->store);
        if (r < 0)
            return r;
    }
    return maildir_sync_dirs(&d->maildir);
}

/* Their rows, which makes them count. What the watch tells of them meanwhile is taken note of, and forgotten:
 * its queue is short. */
static int batch_record(struct download *d, const struct state_message *rows, size_t n) {
    struct sync *s = d->sync;
    struct keywords *keywords = &d->folder->keywords;
    int r = state_begin(s->state);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = state_message_put(s->state, d->folder->row.id, &rows[i]);
    if (r == 0 && keywords->changed)
        r = state_keywords_put(s->state, d->folder->row.id, keywords);
    if (r == 0)
        r = state_commit(s->state);
    if (r < 0) {
        state_rollback(s->state);
        return r;
    }
    mail_hook_step();
    s->counts.have += (int64_t)n;
    s->counts.wanted -= (int64_t)n;
    s->fetched += (int64_t)n;
    s->report->messages = s->counts.have;
    report_status(s->report);
    (void)work_hints(s);
    return 0;
}

static void *sync_main(void *ctx) {
    struct download *d = ctx;
    d->synced = d->writer ? writer_wait(d->writer) : 0;
    if (d->synced == 0)
        d->synced = store_sync(&d->sync->store);
    if (d->synced < 0)
        (void)snprintf(d->trouble, sizeof d->trouble, "%s", err_text());
    return NULL;
}

/* Waits for the batch that is being made durable, and commits it. */
static int batch_settle(struct download *d) {
    size_t n = d->n_syncing;
    if (n == 0)
        return 0;
    (void)pthread_join(d->thread, NULL);
    d->n_syncing = 0;
    return d->synced < 0 ? err_set(d->synced, "%s", d->trouble) : batch_record(d, d->syncing, n);
}

/* Makes the files durable, and only then commits them. */
static int batch_commit(struct download *d) {
    int r = batch_settle(d);
    if (r == 0 && d->writer)
        r = writer_wait(d->writer);
    if (r == 0 && d->n > 0)
        r = batch_durable(d);
    if (r == 0 && d->n > 0)
        r = batch_record(d, d->batch, d->n);
    if (r == 0)
        d->n = d->bytes = 0;
    return r;
}

/* The same for a full batch, while the next one already comes in. */
static int batch_hand_over(struct download *d) {
    int r = batch_settle(d);
    if (r < 0)
        return r;
    memcpy(d->syncing, d->batch, d->n * sizeof *d->batch);
    if (pthread_create(&d->thread, NULL, sync_main, d) != 0)
        return batch_commit(d);
    d->n_syncing = d->n;
    d->n = d->bytes = 0;
    return 0;
}

static int batch_add(struct download *d, const struct state_message *row) {
    struct sync *s = d->sync;
    if (d->n == 0)
        d->since = clock_boot_ms();
    d->batch[d->n++] = *row;
    int64_t fresh = (int64_t)(d->n + d->n_syncing);
    int64_t done = s->counts.have + fresh, fetched = s->fetched + fresh, left = s->counts.wanted - fresh;
    report_progress(s->report, d->folder->directory, done, done + (left > 0 ? left : 0), s->bytes,
                    fetched > 0 && left > 0 ? s->bytes + s->bytes / fetched * left : s->bytes);
    if (d->n == BATCH || d->bytes >= BATCH_BYTES || clock_boot_ms() - d->since > BATCH_MS)
        return batch_hand_over(d);
    return 0;
}

/* -- one message ---------------------------------------------------------------------------------------- */

static void count_bytes(struct download *d, size_t n) {
    d->bytes += n;
    d->sync->bytes += (int64_t)n;
}

/* Forgets a file that came to nothing. */
static void write_drop(struct download *d) {
    if (d->streaming)
        maildir_part_drop(&d->maildir, d->part.uid);
    maildir_part_close(&d->part);
    d->streaming = false;
}

/* The UID of the response whose attributes are read so far, 0: it did not come before the body. */
static uint32_t early_uid(const struct imap_parser *p) {
    uint64_t uid = 0;
    for (uint32_t i = 3; i + 1 < p->count; i++)
        if (imap_node_is(p, &p->nodes[i], "UID") && imap_node_number(p, &p->nodes[i + 1], &uid) &&
            uid <= UINT32_MAX)
            return (uint32_t)uid;
    return 0;
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

/* A message that is so long that it is better asked for in pieces: the connection is given up, since there is
 * no other way to stop the server, and the folder's sizes are asked for from now on. */
static int abandon(struct download *d, uint32_t uid) {
    int r = batch_commit(d);
    if (r == 0)
        r = state_message_part(d->sync->state, d->folder->row.id, uid, 0);
    if (r < 0)
        return r;
    d->sync->reconnect = true;
    return err_set(ERR_UNREACHABLE, "a long message comes later");
}

/* A long literal begins: only the body of a FETCH is expected to be one. */
static int on_literal(struct download *d) {
    const struct imap_parser *p = &d->sync->imap->parser;
    uint64_t number = 0;
    int64_t have = 0;
    d->discard = true;
    if (!imap_is_numbered(p, "FETCH", &number) || p->count < 3 ||
        !imap_node_is(p, &p->nodes[p->count - 2], "BODY[]"))
        return err_set(ERR_TOO_LARGE, "the mail server sent %llu bytes where a few were expected",
                       (unsigned long long)p->literal_left);
    /* Servers tell the UID first, or at the end; without it the part has a name that no message has. */
    uint32_t uid = early_uid(p);
    if (d->streaming || (uid && find_wanted(d, uid) == SIZE_MAX))
        return 0;
    if (p->literal_left > DOWNLOAD_SHORT)
        d->folder->sized = true;
    if (p->literal_left > ABANDON)
        return uid ? abandon(d, uid) : 0;
    d->discard = false;
    d->part_bytes = 0;
    d->part_crc = 0;
    int r = maildir_part_open(&d->maildir, uid, 0, &have, &d->part);
    d->streaming = r == 0;
    return r;
}

static int on_data(struct download *d) {
    const struct imap_parser *p = &d->sync->imap->parser;
    if (d->discard)
        return 0;
    d->part_bytes += p->chunk_len;
    d->part_crc = content_crc(d->part_crc, p->chunk, p->chunk_len);
    count_bytes(d, p->chunk_len);
    return maildir_part_write(&d->part, p->chunk, p->chunk_len);
}

/* Reads UID, FLAGS and INTERNALDATE; false when this is no message that was asked for. */
static bool read_attributes(struct download *d, struct state_message *row) {
    const struct imap_parser *p = &d->sync->imap->parser;
    const struct imap_node *uid = imap_attribute(p, 2, "UID"), *flags = imap_attribute(p, 2, "FLAGS"),
                           *date = imap_attribute(p, 2, "INTERNALDATE");
    uint64_t number = 0;
    int64_t seconds = 0;
    if (!uid || !imap_node_number(p, uid, &number))
        return false;
    size_t index = find_wanted(d, number);
    if (index == SIZE_MAX || d->have[index])
        return false;
    if (!date || imap_date_parse(imap_node_text(p, date), date->len, &seconds) < 0 || seconds < 0 ||
        seconds > UINT32_MAX)
        seconds = clock_real_ms() / 1000;
    uint32_t bits = flags ? keyword_flags(&d->folder->keywords, p, flags) : 0;
    *row = (struct state_message){.uid = (uint32_t)number,
                                  .kind = PLAN_HAVE,
                                  .flags = bits,
                                  .local = bits,
                                  .seconds = (uint32_t)seconds,
                                  .part = -1};
    d->have[index] = true;
    d->got++;
    return true;
}

/* The body came as a stream, into `part`. */
static int take_stream(struct download *d, struct state_message *row) {
    d->streaming = false;
    row->size = d->part_bytes;
    row->crc = d->part_crc;
    int r = maildir_part_place(&d->maildir, &d->part, row->uid, row->seconds, row->flags, d->unread);
    return r < 0 ? r : batch_add(d, row);
}

/* The body is in the parser. */
static int take_text(struct download *d, struct state_message *row, const struct imap_node *body) {
    const char *text = imap_node_text(&d->sync->imap->parser, body);
    row->size = body->len;
    row->crc = content_crc(0, text, body->len);
    count_bytes(d, body->len);
    int r = writer_put(d->writer, row, text, body->len);
    return r < 0 ? r : batch_add(d, row);
}

/* The end of a FETCH response. */
static int on_fetch(struct download *d) {
    const struct imap_parser *p = &d->sync->imap->parser;
    const struct imap_node *body = imap_attribute(p, 2, "BODY[]");
    struct state_message row = {0};
    bool usable = body && body->type != IMAP_NIL && body->type != IMAP_LIST && !d->discard &&
                  (body->type == IMAP_STREAM) == d->streaming && read_attributes(d, &row);
    d->discard = false;
    if (!usable) {
        write_drop(d);
        return 0;
    }
    return body->type == IMAP_STREAM ? take_stream(d, &row) : take_text(d, &row, body);
}

static int on_event(struct download *d, int event) {
    uint64_t number = 0;
    switch (event) {
    case IMAP_NEXT_LITERAL:
        return on_literal(d);
    case IMAP_NEXT_DATA:
        return on_data(d);
    case IMAP_NEXT_UNTAGGED:
        return imap_is_numbered(&d->sync->imap->parser, "FETCH", &number) ? on_fetch(d) : 0;
    default:
        return 0;
    }
}

/* -- short messages ------------------------------------------------------------------------------------- */

/* Reads until no more than `left` commands are open. */
static int read_answers(struct download *d, unsigned left) {
    struct imap_session *imap = d->sync->imap;
    int r = 0;
    imap->stream = true;
    while (r >= 0 && imap_open_commands(imap) > left)
        if ((r = imap_next(imap, -1)) > 0)
            r = on_event(d, r);
    imap->stream = false;
    return r < 0 ? r : 0;
}

/* Asks for the sizes of what is wanted, and takes out the long ones: their turn comes later. Within a
 * transaction. */
static int read_sizes(struct download *d) {
    struct imap_session *imap = d->sync->imap;
    size_t kept = 0;
    int r = 0;
    for (size_t at = 0, used = 0; r == 0 && at < d->n_wanted; at += used) {
        cleanup(buf) struct buf set = {0};
        r = uidset_write(d->wanted + at, d->n_wanted - at, FOLDER_SET_MAX, &set, &used);
        if (r == 0)
            r = imap_send(imap, "UID FETCH %s (UID RFC822.SIZE)", set.data);
        while (r >= 0 && (r = imap_next(imap, -1)) > 0 && r != IMAP_NEXT_DONE) {
            uint64_t uid = 0, size = 0;
            if (r != IMAP_NEXT_UNTAGGED || !imap_is_numbered(&imap->parser, "FETCH", &uid))
                continue;
            const struct imap_node *id = imap_attribute(&imap->parser, 2, "UID"),
                                   *n = imap_attribute(&imap->parser, 2, "RFC822.SIZE");
            size_t index =
                id && n && imap_node_number(&imap->parser, id, &uid) ? find_wanted(d, uid) : SIZE_MAX;
            if (index != SIZE_MAX && imap_node_number(&imap->parser, n, &size) && size > DOWNLOAD_SHORT)
                d->have[index] = true;
        }
        r = r > 0 ? 0 : r;
    }
    for (size_t i = 0; r == 0 && i < d->n_wanted; i++) {
        if (!d->have[i]) {
            d->wanted[kept++] = d->wanted[i];
            continue;
        }
        d->folder->sized = true;
        d->folder->large_below = UINT32_MAX;
        r = state_message_part(d->sync->state, d->folder->row.id, d->wanted[i], 0);
    }
    memset(d->have, 0, sizeof d->have);
    d->n_wanted = r == 0 ? kept : 0;
    return r;
}

static int put_off_long(struct download *d) {
    int r = state_begin(d->sync->state);
    if (r == 0)
        r = read_sizes(d);
    if (r == 0)
        r = state_commit(d->sync->state);
    state_rollback(d->sync->state);
    return r;
}

/* Asks for what is wanted, newest first, some commands ahead, until it is time for others. *ret_left: how
 * many of it were not asked for. */
static int fetch_all(struct download *d, size_t *ret_left) {
    int64_t end = clock_boot_ms() + STEP_MS;
    size_t high = d->n_wanted;
    int r = 0;
    while (r == 0 && high > 0 && (high == d->n_wanted || clock_boot_ms() < end)) {
        size_t low = high > SET ? high - SET : 0;
        for (size_t at = low, used = 0; r == 0 && at < high; at += used) {
            cleanup(buf) struct buf set = {0};
            r = uidset_write(d->wanted + at, high - at, FOLDER_SET_MAX, &set, &used);
            if (r == 0)
                r = read_answers(d, AHEAD - 1);
            if (r == 0)
                r = imap_send(d->sync->imap, "UID FETCH %s (UID FLAGS INTERNALDATE BODY.PEEK[])", set.data);
        }
        high = low;
    }
    if (r == 0)
        r = read_answers(d, 0);
    *ret_left = high;
    return r;
}

/* Whether an error leaves what came whole worth keeping. */
static bool is_connection(int code) {
    return code == ERR_CANCELED || code == ERR_UNREACHABLE || code == ERR_TIMEOUT || code == ERR_PROTOCOL;
}

/* A vault of FUSE answers one thread while it works for another; the kernel's own file systems gain nothing.
 */
static unsigned writer_threads(const struct download *d) {
    return d->n_wanted <= INLINE ? 0 : d->sync->store.beside >= 0 ? WRITER_THREADS_MAX : 1;
}

static int step_short(struct download *d, size_t max) {
    struct sync_folder *f = d->folder;
    size_t left = 0;
    max = f->sized && max > SIZED ? SIZED : max;
    int r = state_wanted(d->sync->state, f->row.id, false, f->fetch_below, d->wanted, max, &d->n_wanted);
    if (r < 0 || d->n_wanted == 0) {
        f->fetch_below = 0;
        return r;
    }
    for (size_t i = 0; i < d->n_wanted / 2; i++) { /* newest first as listed, rising from here on */
        uint32_t uid = d->wanted[i];
        d->wanted[i] = d->wanted[d->n_wanted - 1 - i];
        d->wanted[d->n_wanted - 1 - i] = uid;
    }
    uint32_t lowest = d->wanted[0];
    bool more = d->n_wanted == max;
    if (f->sized ||
        max == FEW) /* of many, only where there are long ones: servers have to read them for it */
        r = put_off_long(d);
    if (r == 0)
        r = writer_start(&d->maildir, f->first, d->unread, writer_threads(d), &d->writer);
    if (r == 0)
        r = fetch_all(d, &left);
    write_drop(d);
    int kept = r == 0 || is_connection(r) ? batch_commit(d) : r;
    /* Dovecot 2.3.19 now and then announces a message too short that it has not read before. It knows better
     * the next time. */
    if (r == ERR_PROTOCOL && kept == 0 && d->got > 0)
        d->sync->reconnect = true;
    if (r < 0 || kept < 0)
        return r < 0 ? r : kept;
    f->fetch_below = left > 0 ? d->wanted[left] : more ? lowest : 0;
    if (d->got < d->n_wanted - left)
        sync_folder_problem(f, "the server did not hand out %zu messages", d->n_wanted - left - d->got);
    return 0;
}

/* -- long messages -------------------------------------------------------------------------------------- */

/* A long message that is being fetched. */
struct piecemeal {
    struct download *d;
    struct state_message row;
    uint64_t at;    /* bytes that are there */
    uint64_t asked; /* bytes that were asked for */
    uint64_t piece; /* bytes of the piece that is being read */
    bool reading;
    bool ended; /* the last piece was short */
    bool odd;   /* the server answers something else */
};

static int piece_data(struct piecemeal *m, const char *data, size_t n) {
    m->piece += n;
    count_bytes(m->d, n);
    return maildir_part_write(&m->d->part, data, n);
}

/* Whether the attribute is that of the piece that comes next. */
static bool is_next_piece(const struct piecemeal *m, const struct imap_parser *p,
                          const struct imap_node *name) {
    char expected[48];
    (void)snprintf(expected, sizeof expected, "BODY[]<%llu>", (unsigned long long)m->at);
    return imap_node_is(p, name, expected);
}

static int piece_end(struct piecemeal *m, const struct imap_parser *p) {
    const struct imap_node *flags = imap_attribute(p, 2, "FLAGS"),
                           *date = imap_attribute(p, 2, "INTERNALDATE");
    int64_t seconds = 0;
    if (flags)
        m->row.flags = m->row.local = keyword_flags(&m->d->folder->keywords, p, flags);
    if (date && imap_date_parse(imap_node_text(p, date), date->len, &seconds) == 0 && seconds <= UINT32_MAX)
        m->row.seconds = (uint32_t)seconds;
    m->at += m->piece;
    m->ended = m->ended || m->piece < PIECE;
    m->piece = 0;
    m->reading = false;
    return 0;
}

static int on_piece(struct piecemeal *m, int event) {
    const struct imap_parser *p = &m->d->sync->imap->parser;
    uint64_t number = 0;
    char expected[48];
    switch (event) {
    case IMAP_NEXT_LITERAL:
        m->reading = !m->ended && !m->odd && p->count > 3 && is_next_piece(m, p, &p->nodes[p->count - 2]) &&
                     p->literal_left <= PIECE;
        return 0;
    case IMAP_NEXT_DATA:
        return m->reading ? piece_data(m, p->chunk, p->chunk_len) : 0;
    case IMAP_NEXT_UNTAGGED:
        break;
    default:
        return 0;
    }
    const struct imap_node *uid = imap_is_numbered(p, "FETCH", &number) ? imap_attribute(p, 2, "UID") : NULL;
    if (!uid || !imap_node_number(p, uid, &number) || number != m->row.uid)
        return 0;
    (void)snprintf(expected, sizeof expected, "BODY[]<%llu>", (unsigned long long)m->at);
    const struct imap_node *body = imap_attribute(p, 2, expected);
    if (m->reading)
        return piece_end(m, p);
    if (m->ended || !body || (body->type != IMAP_STRING && body->type != IMAP_NIL)) {
        m->odd = m->odd || (!m->ended && imap_attribute(p, 2, "FLAGS") == NULL);
        return 0;
    }
    int r = body->type == IMAP_STRING ? piece_data(m, imap_node_text(p, body), body->len) : 0;
    return r < 0 ? r : piece_end(m, p);
}

/* Asks for pieces until the message ends or others have their turn. One after the other: Dovecot 2.3 now and
 * then announces a piece too short when the next command is already there. */
static int fetch_pieces(struct piecemeal *m) {
    struct imap_session *imap = m->d->sync->imap;
    uint64_t from = m->at;
    int r = 0;
    m->asked = m->at;
    imap->stream = true;
    while (r >= 0) {
        bool more = !m->ended && !m->odd && m->asked - from < STEP_BYTES && m->asked < MESSAGE_MAX;
        if (more && imap_open_commands(imap) == 0) {
            r = imap_send(imap, "UID FETCH %u (UID FLAGS INTERNALDATE BODY.PEEK[]<%llu.%llu>)", m->row.uid,
                          (unsigned long long)m->asked, (unsigned long long)PIECE);
            m->asked += PIECE;
            continue;
        }
        if (imap_open_commands(imap) == 0)
            break;
        if ((r = imap_next(imap, -1)) > 0)
            r = on_piece(m, r);
    }
    imap->stream = false;
    return r < 0 ? r : 0;
}

/* The whole message is there: it gets its name. */
static int finish_long(struct piecemeal *m) {
    struct download *d = m->d;
    struct content content = {0};
    int r = content_measure(d->part.fd, &content);
    if (r < 0)
        return r;
    m->row.kind = PLAN_HAVE;
    m->row.part = -1;
    m->row.size = content.size;
    m->row.crc = content.crc;
    if (m->row.seconds == 0)
        m->row.seconds = (uint32_t)(clock_real_ms() / 1000);
    if (fdatasync(d->part.fd) != 0)
        return err_errno("cannot write mail to disk");
    r = maildir_part_place(&d->maildir, &d->part, m->row.uid, m->row.seconds, m->row.flags, d->unread);
    if (r == 0)
        r = batch_add(d, &m->row);
    return r < 0 ? r : batch_commit(d);
}

/* Writes down how far it has come. */
static int pause_long(struct piecemeal *m) {
    struct download *d = m->d;
    if (fdatasync(d->part.fd) != 0)
        return err_errno("cannot write mail to disk");
    int r = state_message_part(d->sync->state, d->folder->row.id, m->row.uid, (int64_t)m->at);
    mail_hook_step();
    return r;
}

static int step_long(struct download *d) {
    struct sync_folder *f = d->folder;
    struct piecemeal m = {.d = d};
    int64_t have = 0;
    int r = state_wanted(d->sync->state, f->row.id, true, f->large_below, d->wanted, 1, &d->n_wanted);
    if (r < 0 || d->n_wanted == 0) {
        f->large_below = 0;
        return r;
    }
    r = state_message_get(d->sync->state, f->row.id, d->wanted[0], &m.row);
    if (r != 0)
        return r < 0 ? r : 0;
    r = maildir_part_open(&d->maildir, m.row.uid, m.row.part, &have, &d->part);
    if (r < 0)
        return r;
    m.at = (uint64_t)have;
    r = fetch_pieces(&m);
    if (r < 0 && !is_connection(r))
        return r;
    int kept = m.ended && r == 0 ? finish_long(&m) : pause_long(&m);
    if (kept == 0 && r == 0 && !m.ended && m.at == (uint64_t)have) { /* nothing came */
        f->large_below = m.row.uid;
        sync_folder_problem(f, "the server does not hand out a long message");
    }
    return r < 0 ? r : kept;
}

int download_step(struct sync *s, struct sync_folder *f, enum download_what what) {
    cleanup(download) struct download *d = calloc(1, sizeof *d);
    if (!d)
        return err_set(ERR_SYSTEM, "out of memory");
    *d = (struct download){.sync = s, .folder = f, .maildir = MAILDIR_INIT, .part = {.fd = -1}};
    d->unread = f->first ? MAILDIR_CUR : MAILDIR_NEW;
    int r = sync_folder_open(s, f, &d->maildir);
    if (r == 0 && s->selected != f) {
        r = imap_select(s->imap, f->quoted);
        s->selected = r == IMAP_OK ? f : NULL;
        /* what happened here while another folder was open is found by the next pass */
        f->dirty = f->dirty || s->imap->modseq != f->row.modseq || s->imap->exists != f->row.messages;
        if (r == IMAP_OK && s->imap->uidvalidity != f->row.uidvalidity)
            r = 1;
    }
    if (r > 0 || r == ERR_INVALID) { /* its next pass says what is in the way */
        f->fetch_below = f->large_below = 0;
        f->dirty = true;
        return 0;
    }
    if (r < 0)
        return r;
    return what == DOWNLOAD_LONG ? step_long(d) : step_short(d, what == DOWNLOAD_FEW ? FEW : MANY);
}
