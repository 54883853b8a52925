#include "agent/mail/imap/command.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct {
    const char *verb;
    unsigned kinds;
} verbs[] = {
    {"FETCH", IMAP_KIND_FETCH},   {"STORE", IMAP_KIND_FETCH},
    {"COPY", IMAP_KIND_COPY},     {"MOVE", IMAP_KIND_COPY | IMAP_KIND_EXPUNGE},
    {"APPEND", IMAP_KIND_APPEND}, {"EXPUNGE", IMAP_KIND_EXPUNGE},
    {"SELECT", IMAP_KIND_SELECT}, {"EXAMINE", IMAP_KIND_SELECT},
    {"CLOSE", IMAP_KIND_LEAVE},   {"UNSELECT", IMAP_KIND_LEAVE},
    {"ENABLE", IMAP_KIND_ENABLE},
};

unsigned imap_command_kinds(const char *line) {
    if (strncasecmp(line, "UID ", 4) == 0)
        line += 4;
    size_t n = strcspn(line, " \r\n");
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (strlen(verbs[i].verb) == n && strncasecmp(line, verbs[i].verb, n) == 0)
            return verbs[i].kinds;
    return 0;
}

int imap_command_open(struct imap_session *s, unsigned kinds) {
    if (s->n_open >= IMAP_PIPELINE_MAX + (kinds & IMAP_KIND_HIDDEN ? 1U : 0U))
        return err_set(ERR_WRONG_STATE, "more than %d mail commands at once", IMAP_PIPELINE_MAX);
    s->open[s->n_open++] = (struct imap_open){.number = ++s->sent, .kinds = kinds};
    s->answers = 0;
    return 0;
}

int imap_command_close(struct imap_session *s, const char *tag, unsigned *ret_kinds) {
    for (unsigned i = 0; i < s->n_open; i++) {
        char expected[16];
        (void)snprintf(expected, sizeof expected, "a%u", s->open[i].number);
        if (strcmp(tag, expected) != 0)
            continue;
        *ret_kinds = s->open[i].kinds;
        s->done = s->open[i].number;
        s->answers = 0;
        memmove(&s->open[i], &s->open[i + 1], (s->n_open - i - 1) * sizeof *s->open);
        s->n_open--;
        return 0;
    }
    return err_set(ERR_PROTOCOL, "the mail server answered a command that was not sent");
}

unsigned imap_command_count(const struct imap_session *s, unsigned kinds) {
    unsigned n = 0;
    for (unsigned i = 0; i < s->n_open; i++)
        n += s->open[i].kinds & kinds ? 1 : 0;
    return n;
}

unsigned imap_open_commands(const struct imap_session *s) {
    return s->n_open - imap_command_count(s, IMAP_KIND_HIDDEN);
}

int imap_command_send(struct imap_session *s, unsigned kinds, const char *line) {
    cleanup(buf) struct buf out = {0};
    int r = imap_command_open(s, kinds);
    if (r == 0)
        r = buf_printf(&out, "a%u %s", s->sent, line);
    return r < 0 ? r
                 : imap_connection_send(s->connection, out.data, out.len, clock_boot_ms() + IMAP_ANSWER_MS);
}

__attribute__((format(printf, 2, 0))) static int command_vsend(struct imap_session *s, const char *fmt,
                                                               va_list args) {
    cleanup(free) char *body = NULL;
    cleanup(buf) struct buf line = {0};
    if (vasprintf(&body, fmt, args) < 0) {
        body = NULL;
        return err_set(ERR_SYSTEM, "out of memory");
    }
    int r = buf_printf(&line, "%s\r\n", body);
    return r < 0 ? r : imap_command_send(s, imap_command_kinds(body), line.data);
}

int imap_send(struct imap_session *s, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    int r = command_vsend(s, fmt, args);
    va_end(args);
    return r;
}

int imap_drain(struct imap_session *s) {
    int worst = IMAP_OK;
    while (s->n_open > 0) {
        int r = imap_next(s, -1);
        if (r < 0)
            return r;
        if (r == IMAP_NEXT_DONE && (int)s->result > worst)
            worst = (int)s->result;
    }
    return worst;
}

int imap_command(struct imap_session *s, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    int r = command_vsend(s, fmt, args);
    va_end(args);
    return r < 0 ? r : imap_drain(s);
}
