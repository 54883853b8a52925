#include "agent/mail/imap/session.h"
#include "agent/mail/imap/command.h"
#include "agent/mail/imap/response.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"

#include <stdio.h>
#include <stdlib.h>

#define SLOW_MS 5 /* a round trip from which on compression pays */

static int session_event(struct imap_session *s, int event) {
    switch (event) {
    case IMAP_EVENT_LITERAL:
        return s->stream ? IMAP_NEXT_LITERAL
                         : err_set(ERR_TOO_LARGE, "the mail server sent %llu bytes where a few were expected",
                                   (unsigned long long)s->parser.literal_left);
    case IMAP_EVENT_DATA:
        return IMAP_NEXT_DATA;
    default:
        return imap_response(s);
    }
}

int imap_next(struct imap_session *s, int watch) {
    for (;;) {
        while (s->start < s->end) {
            size_t used = 0;
            int r = imap_parser_feed(&s->parser, s->in + s->start, s->end - s->start, &used);
            s->start += used;
            if (r > 0)
                r = session_event(s, r);
            if (r != 0)
                return r;
        }
        size_t n = 0;
        int64_t deadline = s->deadline ? s->deadline : clock_boot_ms() + IMAP_ANSWER_MS;
        int r = imap_connection_recv(s->connection, watch, deadline, s->in, sizeof s->in, &n);
        if (r != 0)
            return r == IMAP_WATCH ? IMAP_NEXT_WATCH : r;
        s->start = 0;
        s->end = n;
    }
}

/* -- SELECT --------------------------------------------------------------------------------------------- */

/* Leaves the selected mailbox, so that what still comes about it is not taken for the next one's. */
static int session_leave(struct imap_session *s) {
    bool unselect = s->capabilities & IMAP_CAP_UNSELECT;
    s->leaving = unselect || s->enabled & IMAP_CAP_QRESYNC; /* with QRESYNC there is [CLOSED] in between */
    return unselect ? imap_command_send(s, IMAP_KIND_LEAVE | IMAP_KIND_HIDDEN, "UNSELECT\r\n") : 0;
}

int imap_select_send(struct imap_session *s, const char *quoted, uint32_t uidvalidity, uint64_t modseq) {
    int r = s->selected ? session_leave(s) : 0;
    imap_response_forget(s);
    if (r < 0)
        return r;
    if (uidvalidity && modseq && s->enabled & IMAP_CAP_QRESYNC)
        return imap_send(s, "SELECT %s (QRESYNC (%u %llu))", quoted, uidvalidity, (unsigned long long)modseq);
    return imap_send(s, "SELECT %s", quoted);
}

int imap_select(struct imap_session *s, const char *quoted) {
    int r = imap_select_send(s, quoted, 0, 0);
    return r < 0 ? r : imap_drain(s);
}

/* -- opening and closing -------------------------------------------------------------------------------- */

static void session_cleanup(struct imap_session **s) {
    imap_session_close(*s);
}

static int session_capability(struct imap_session *s) {
    int64_t began = clock_boot_ms();
    int r = imap_command(s, "CAPABILITY");
    s->rtt_ms = clock_boot_ms() - began;
    return r > 0 ? err_set(ERR_PROTOCOL, "the mail server does not tell its capabilities: %s", s->text) : r;
}

/* Says who it is, and enables what is used. A refusal does no harm. */
static int session_enable(struct imap_session *s) {
    unsigned can = s->capabilities & IMAP_CAP_ENABLE ? s->capabilities : 0;
    s->asked = can & (IMAP_CAP_QRESYNC | IMAP_CAP_CONDSTORE | IMAP_CAP_UTF8);
    int r = 0;
    if (s->capabilities & IMAP_CAP_ID)
        r = imap_send(s, "ID (\"name\" \"Satchel\" \"version\" \"" SATCHEL_VERSION "\")");
    if (r == 0 && s->asked)
        r = imap_send(s, "ENABLE%s%s",
                      can & IMAP_CAP_QRESYNC     ? " QRESYNC"
                      : can & IMAP_CAP_CONDSTORE ? " CONDSTORE"
                                                 : "",
                      can & IMAP_CAP_UTF8 ? " UTF8=ACCEPT" : "");
    if (r == 0)
        r = imap_drain(s);
    if (!(s->capabilities & IMAP_CAP_ENABLE)) /* enabled by its use (RFC 7162 section 3.1) */
        s->enabled |= s->capabilities & IMAP_CAP_CONDSTORE;
    return r < 0 ? r : 0;
}

static int session_compress(struct imap_session *s, enum imap_compress compress) {
    bool wanted =
        compress == IMAP_COMPRESS_ALWAYS || (compress == IMAP_COMPRESS_AUTO && s->rtt_ms >= SLOW_MS);
    if (!wanted || !(s->capabilities & IMAP_CAP_COMPRESS))
        return 0;
    int r = imap_command(s, "COMPRESS DEFLATE");
    if (r != IMAP_OK)
        return r < 0 ? r : 0;
    r = imap_connection_compress(s->connection, s->in + s->start, s->end - s->start);
    s->start = s->end = 0;
    if (r == 0)
        s->enabled |= IMAP_CAP_COMPRESS;
    return r;
}

int imap_session_open(const struct imap_endpoint *endpoint, enum imap_compress compress, int cancel,
                      int64_t deadline, struct imap_session **ret) {
    cleanup(session) struct imap_session *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(ERR_SYSTEM, "out of memory");
    imap_response_init(s);
    int r = imap_connection_open(endpoint, cancel, deadline, &s->connection);
    if (r < 0)
        return r;
    s->deadline = deadline;
    r = session_capability(s);
    if (r == 0)
        r = session_enable(s);
    if (r == 0)
        r = session_compress(s, compress);
    s->deadline = 0;
    if (r == 0)
        *ret = steal(s);
    return r;
}

void imap_session_logout(struct imap_session *s) {
    if (!s)
        return;
    int64_t soon = clock_boot_ms() + 1000;
    s->deadline = soon;
    if (!s->appending && imap_connection_send(s->connection, "z LOGOUT\r\n", 10, soon) == 0)
        while (imap_next(s, -1) > 0)
            ;
    imap_session_close(s);
}

void imap_session_close(struct imap_session *s) {
    if (!s)
        return;
    imap_connection_close(s->connection);
    imap_response_finish(s);
    free(s);
}
