/*
 * What a server's responses do to the session. Lines that begin with ">" are commands that we send at that
 * moment; everything else is what the server says.
 */
#include "agent/mail/imap/command.h"
#include "agent/mail/imap/response.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void need(bool good) {
    if (!good)
        abort();
}

static void check_copied(const struct imap_copied *c) {
    need(c->from.n <= IMAP_COPY_RANGES_MAX && c->to.n <= IMAP_COPY_RANGES_MAX);
    need(uidset_count(&c->from) == uidset_count(&c->to));
    need(c->uid == 0 || c->from.n == 0);
    need((c->uidvalidity != 0) == (c->uid != 0 || c->from.n != 0));
}

static void check_keywords(const struct buf *k) {
    need(k->len <= 65536 && (k->len == 0 || k->data[k->len - 1] == '\0'));
    for (size_t at = 0; at < k->len; at += strlen(k->data + at) + 1)
        need(k->data[at] != '\0' && k->data[at] != '\\');
}

static void check(const struct imap_session *s) {
    check_copied(&s->copied);
    check_keywords(&s->keywords);
    need(s->n_open <= IMAP_PIPELINE_MAX + 1 && imap_open_commands(s) <= IMAP_PIPELINE_MAX);
    need((s->enabled & ~s->asked) == 0);
    need(s->backoff_ms >= 0 && s->backoff_ms <= 86400000);
    need(s->done <= s->sent);
    size_t length = strnlen(s->text, sizeof s->text);
    need(length < sizeof s->text);
    for (size_t i = 0; i < length; i++)
        need(s->text[i] >= ' ' && s->text[i] <= '~');
}

/* As imap_select_send() without a connection. */
static void command(struct imap_session *s, const char *line) {
    unsigned kinds = imap_command_kinds(line);
    if (kinds & IMAP_KIND_SELECT && s->n_open == 0) {
        s->leaving = s->selected;
        if (s->selected)
            (void)imap_command_open(s, IMAP_KIND_LEAVE | IMAP_KIND_HIDDEN);
        imap_response_forget(s);
    }
    (void)imap_command_open(s, kinds);
}

static void on_mailbox(void *ctx, const struct imap_parser *p) {
    (void)ctx;
    need(p->count > 0);
}

/* Feeds a piece. false: the session is over. */
static bool says(struct imap_session *s, const char *text, size_t n) {
    for (size_t at = 0; at < n;) {
        size_t used = 0;
        int r = imap_parser_feed(&s->parser, text + at, n - at, &used);
        at += used;
        if (r == IMAP_EVENT_RESPONSE)
            r = imap_response(s);
        check(s);
        if (r < 0)
            return false;
        if (r == IMAP_NEXT_UNTAGGED && s->parser.count) {
            struct uidset gone = {0};
            bool earlier = false;
            (void)imap_vanished(&s->parser, &earlier, &gone);
            uidset_finish(&gone);
        }
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct imap_session *s = calloc(1, sizeof *s);
    const char *text = (const char *)data;
    bool more = s != NULL;
    if (s) {
        imap_response_init(s);
        s->on_mailbox = on_mailbox;
        s->asked = IMAP_CAP_QRESYNC | IMAP_CAP_CONDSTORE | IMAP_CAP_UTF8;
    }
    while (more && n > 0) {
        const char *end = memchr(text, '\n', n);
        size_t line = end ? (size_t)(end - text) + 1 : n;
        char sent[64] = "";
        if (*text == '>')
            command(s, memcpy(sent, text + 1, line - 1 < sizeof sent ? line - 1 : sizeof sent - 1));
        else
            more = says(s, text, line);
        text += line;
        n -= line;
    }
    if (s)
        imap_response_finish(s);
    free(s);
    return 0;
}
