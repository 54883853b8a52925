#include "agent/mail/imap/session.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ANSWER_MS 60000 /* silence of the server during a command */
#define BUDGET 200000   /* responses to one command, beyond those that the mailbox's size explains */
#define UIDVALIDITY_MAX UINT32_MAX

static const struct {
    const char *name;
    unsigned bit;
} capability_names[] = {
    {"IDLE", IMAP_CAP_IDLE},
    {"UIDPLUS", IMAP_CAP_UIDPLUS},
    {"CONDSTORE", IMAP_CAP_CONDSTORE},
    {"QRESYNC", IMAP_CAP_CONDSTORE},
};

static const struct {
    const char *name;
    unsigned bit;
} flag_names[] = {
    {"\\Draft", IMAP_DRAFT}, {"\\Flagged", IMAP_FLAGGED}, {"\\Answered", IMAP_ANSWERED},
    {"\\Seen", IMAP_SEEN},   {"\\Deleted", IMAP_DELETED},
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

unsigned imap_flags(const struct imap_parser *p, const struct imap_node *list) {
    unsigned flags = 0;
    if (list->type != IMAP_LIST)
        return 0;
    uint32_t first = (uint32_t)(list - p->nodes) + 1;
    for (const struct imap_node *n; (n = imap_node_at(p, first, list->end)); first = n->end)
        for (size_t i = 0; i < COUNT(flag_names); i++)
            if (imap_node_is(p, n, flag_names[i].name))
                flags |= flag_names[i].bit;
    return flags;
}

int imap_flags_write(unsigned flags, struct buf *ret) {
    const char *gap = "";
    for (size_t i = 0; i < COUNT(flag_names); i++) {
        if (!(flags & flag_names[i].bit))
            continue;
        int r = buf_printf(ret, "%s%s", gap, flag_names[i].name);
        if (r < 0)
            return r;
        gap = " ";
    }
    return 0;
}

int imap_quote(const char *text, size_t n, struct buf *ret) {
    int r = buf_add(ret, "\"", 1);
    for (size_t i = 0; i < n && r == 0; i++) {
        if (text[i] < ' ' || text[i] > '~')
            return err_set(ERR_INVALID, "a mailbox name with characters that IMAP does not allow");
        if (text[i] == '"' || text[i] == '\\')
            r = buf_add(ret, "\\", 1);
        if (r == 0)
            r = buf_add(ret, &text[i], 1);
    }
    return r < 0 ? r : buf_add(ret, "\"", 1);
}

bool imap_is_numbered(const struct imap_parser *p, const char *word, uint64_t *ret) {
    return p->line == IMAP_LINE_UNTAGGED && p->count >= 2 && imap_node_is(p, &p->nodes[1], word) &&
           imap_node_number(p, &p->nodes[0], ret);
}

const struct imap_node *imap_attribute(const struct imap_parser *p, uint32_t list, const char *key) {
    const struct imap_node *node = imap_node_at(p, list, p->count);
    if (!node || node->type != IMAP_LIST)
        return NULL;
    uint32_t end = node->end;
    for (uint32_t i = list + 1; i < end;) {
        const struct imap_node *value = imap_node_at(p, p->nodes[i].end, end);
        if (!value)
            return NULL;
        if (imap_node_is(p, &p->nodes[i], key))
            return value;
        i = value->end;
    }
    return NULL;
}

/* Keeps the server's words for a person: printable, short. */
static void session_keep_text(struct imap_session *s) {
    const struct imap_parser *p = &s->parser;
    size_t n = p->info_len < sizeof s->text - 1 ? p->info_len : sizeof s->text - 1;
    if (n > 0)
        memcpy(s->text, p->text.data + p->info_offset, n);
    s->text[n] = '\0';
    for (size_t i = 0; i < n; i++)
        if (s->text[i] < ' ' || s->text[i] > '~')
            s->text[i] = '?';
}

static void session_capabilities(struct imap_session *s, uint32_t first, uint32_t end) {
    s->capabilities = 0;
    for (const struct imap_node *n; (n = imap_node_at(&s->parser, first, end)); first = n->end)
        for (size_t i = 0; i < COUNT(capability_names); i++)
            if (imap_node_is(&s->parser, n, capability_names[i].name))
                s->capabilities |= capability_names[i].bit;
}

/* The bracketed code of a status response (RFC 3501 section 7.1). */
static void session_code(struct imap_session *s) {
    const struct imap_parser *p = &s->parser;
    if (p->count < 3 || p->nodes[1].type != IMAP_CODE)
        return;
    const struct imap_node *name = &p->nodes[2], *value = imap_node_at(p, 3, p->nodes[1].end);
    uint64_t number = 0;
    if (imap_node_is(p, name, "CAPABILITY"))
        session_capabilities(s, 3, p->nodes[1].end);
    if (imap_node_is(p, name, "READ-ONLY"))
        s->read_only = true;
    if (value && imap_node_is(p, name, "PERMANENTFLAGS"))
        s->permanent = imap_flags(p, value);
    if (!value || !imap_node_number(p, value, &number))
        return;
    if (imap_node_is(p, name, "UIDVALIDITY") && number <= UIDVALIDITY_MAX)
        s->uidvalidity = (uint32_t)number;
    else if (imap_node_is(p, name, "UIDNEXT") && number <= UINT32_MAX)
        s->uidnext = (uint32_t)number;
    else if (imap_node_is(p, name, "HIGHESTMODSEQ"))
        s->modseq = number;
}

/* Takes in what concerns the session itself. ERR_UNREACHABLE for BYE. */
static int session_untagged(struct imap_session *s) {
    const struct imap_parser *p = &s->parser;
    uint64_t number = 0;
    if (s->budget-- == 0)
        return err_set(ERR_PROTOCOL, "the mail server does not stop answering one command");
    if (imap_node_is(p, &p->nodes[0], "BYE")) {
        session_keep_text(s);
        return err_set(ERR_UNREACHABLE, "the mail server ended the session: %s", s->text);
    }
    if (imap_node_is(p, &p->nodes[0], "CAPABILITY")) {
        session_capabilities(s, 1, p->count);
    } else if (imap_node_is(p, &p->nodes[0], "OK")) {
        session_code(s);
    } else if (imap_is_numbered(p, "EXISTS", &number) && number <= UINT32_MAX) {
        s->changed = s->changed || s->exists != number;
        s->exists = (uint32_t)number;
    } else if (imap_is_numbered(p, "EXPUNGE", &number)) {
        s->changed = true;
        s->exists -= s->exists > 0 ? 1 : 0;
    }
    return IMAP_NEXT_UNTAGGED;
}

static int session_tagged(struct imap_session *s) {
    char expected[16];
    (void)snprintf(expected, sizeof expected, "a%u", s->tag);
    const struct imap_parser *p = &s->parser;
    if (strcmp(p->tag, expected) != 0)
        return err_set(ERR_PROTOCOL, "the mail server answered a command that was not sent");
    session_keep_text(s);
    session_code(s);
    if (imap_node_is(p, &p->nodes[0], "OK"))
        s->result = IMAP_OK;
    else if (imap_node_is(p, &p->nodes[0], "NO"))
        s->result = IMAP_NO;
    else if (imap_node_is(p, &p->nodes[0], "BAD"))
        s->result = IMAP_BAD;
    else
        return err_set(ERR_PROTOCOL, "the mail server ended a command with neither OK, NO nor BAD");
    return IMAP_NEXT_DONE;
}

static int session_event(struct imap_session *s, int event) {
    switch (event) {
    case IMAP_EVENT_LITERAL:
        return s->stream ? IMAP_NEXT_LITERAL
                         : err_set(ERR_TOO_LARGE, "the mail server sent %llu bytes where a few were expected",
                                   (unsigned long long)s->parser.literal_left);
    case IMAP_EVENT_DATA:
        return IMAP_NEXT_DATA;
    default:
        break;
    }
    switch (s->parser.line) {
    case IMAP_LINE_CONTINUE:
        return s->budget-- == 0 ? err_set(ERR_PROTOCOL, "the mail server does not stop answering one command")
                                : IMAP_NEXT_CONTINUE;
    case IMAP_LINE_UNTAGGED:
        return session_untagged(s);
    default:
        return session_tagged(s);
    }
}

int imap_next(struct imap_session *s, int watch) {
    for (;;) {
        if (s->start < s->end) {
            size_t used = 0;
            int r = imap_parser_feed(&s->parser, s->in + s->start, s->end - s->start, &used);
            s->start += used;
            if (r != IMAP_EVENT_MORE)
                return r < 0 ? r : session_event(s, r);
            continue;
        }
        size_t n = 0;
        int64_t deadline = s->deadline ? s->deadline : clock_boot_ms() + ANSWER_MS;
        int r = imap_connection_recv(s->connection, watch, deadline, s->in, sizeof s->in, &n);
        if (r != 0)
            return r == IMAP_WATCH ? IMAP_NEXT_WATCH : r;
        s->start = 0;
        s->end = n;
    }
}

__attribute__((format(printf, 2, 0))) static int session_vsend(struct imap_session *s, const char *fmt,
                                                               va_list args) {
    cleanup(free) char *body = NULL;
    cleanup(buf) struct buf line = {0};
    if (vasprintf(&body, fmt, args) < 0) {
        body = NULL;
        return err_set(ERR_SYSTEM, "out of memory");
    }
    s->budget = BUDGET + (s->exists < UINT32_MAX / 4 ? s->exists * 2 : UINT32_MAX / 2);
    int r = buf_printf(&line, "a%u %s\r\n", ++s->tag, body);
    return r < 0 ? r : imap_connection_send(s->connection, line.data, line.len, clock_boot_ms() + ANSWER_MS);
}

int imap_send(struct imap_session *s, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    int r = session_vsend(s, fmt, args);
    va_end(args);
    return r;
}

static int session_drain(struct imap_session *s) {
    int r = 0;
    do
        r = imap_next(s, -1);
    while (r > 0 && r != IMAP_NEXT_DONE);
    return r < 0 ? r : (int)s->result;
}

int imap_command(struct imap_session *s, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    int r = session_vsend(s, fmt, args);
    va_end(args);
    return r < 0 ? r : session_drain(s);
}

int imap_select(struct imap_session *s, const char *quoted) {
    s->read_only = false;
    s->exists = s->uidvalidity = s->uidnext = 0;
    s->modseq = 0;
    s->permanent = IMAP_FLAGS_ALL;
    int r = imap_command(s, "SELECT %s", quoted);
    s->changed = false;
    return r;
}

/* Waits inside IDLE for a reason to leave it. */
static int idle_wait(struct imap_session *s, int watch) {
    for (;;) {
        uint64_t number = 0;
        int r = imap_next(s, watch);
        if (r == IMAP_NEXT_UNTAGGED && (imap_is_numbered(&s->parser, "FETCH", &number) ||
                                        imap_node_is(&s->parser, &s->parser.nodes[0], "VANISHED")))
            s->changed = true;
        if (r == ERR_TIMEOUT || r == IMAP_NEXT_WATCH)
            return 0;
        if (r < 0 || r == IMAP_NEXT_DONE)
            return r;
        if (s->changed)
            return 0;
    }
}

int imap_idle(struct imap_session *s, int watch, int64_t deadline) {
    int r = imap_send(s, "IDLE");
    while (r == 0) {
        r = imap_next(s, -1);
        if (r == IMAP_NEXT_DONE)
            return s->result == IMAP_OK ? err_set(ERR_PROTOCOL, "the mail server ended IDLE by itself")
                                        : (int)s->result;
        if (r == IMAP_NEXT_UNTAGGED)
            r = 0;
    }
    if (r < 0)
        return r;
    s->deadline = deadline;
    r = s->changed ? 0 : idle_wait(s, watch);
    s->deadline = 0;
    if (r == ERR_CANCELED) /* so that a LOGOUT may follow */
        (void)imap_connection_send(s->connection, "DONE\r\n", 6, clock_boot_ms() + 1000);
    if (r < 0 || r == IMAP_NEXT_DONE)
        return r < 0 ? r : (int)s->result;
    r = imap_connection_send(s->connection, "DONE\r\n", 6, clock_boot_ms() + ANSWER_MS);
    return r < 0 ? r : session_drain(s);
}

static void session_cleanup(struct imap_session **s) {
    imap_session_close(*s);
}

int imap_session_open(const struct imap_endpoint *endpoint, int cancel, int64_t deadline,
                      struct imap_session **ret) {
    cleanup(session) struct imap_session *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(ERR_SYSTEM, "out of memory");
    imap_parser_init(&s->parser);
    s->permanent = IMAP_FLAGS_ALL;
    int r = imap_connection_open(endpoint, cancel, deadline, &s->connection);
    if (r < 0)
        return r;
    s->deadline = deadline;
    r = imap_command(s, "CAPABILITY");
    s->deadline = 0;
    if (r > 0)
        return err_set(ERR_PROTOCOL, "the mail server does not tell its capabilities: %s", s->text);
    if (r == 0)
        *ret = steal(s);
    return r;
}

void imap_session_logout(struct imap_session *s) {
    if (!s)
        return;
    int64_t soon = clock_boot_ms() + 1000;
    s->deadline = soon;
    if (imap_connection_send(s->connection, "z LOGOUT\r\n", 10, soon) == 0)
        while (imap_next(s, -1) > 0)
            ;
    imap_session_close(s);
}

void imap_session_close(struct imap_session *s) {
    if (!s)
        return;
    imap_connection_close(s->connection);
    imap_parser_finish(&s->parser);
    free(s);
}
