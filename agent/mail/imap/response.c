#include "agent/mail/imap/response.h"
#include "agent/mail/imap/command.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"

#include <string.h>
#include <strings.h>

#define BUDGET 200000 /* responses to one command, beyond those that the mailbox's size explains */
#define BACKOFF_MAX_MS INT64_C(86400000)

void imap_response_init(struct imap_session *s) {
    imap_parser_init(&s->parser);
    imap_response_forget(s);
}

void imap_response_finish(struct imap_session *s) {
    imap_parser_finish(&s->parser);
    imap_copied_clear(&s->copied);
    buf_finish(&s->keywords);
}

void imap_response_forget(struct imap_session *s) {
    s->selected = s->read_only = s->changed = s->no_modseq = false;
    s->exists = s->uidvalidity = s->uidnext = 0;
    s->object = 0;
    s->modseq = 0;
    s->permanent = IMAP_FLAGS_ALL;
    s->permanent_any = true;
    buf_clear(&s->keywords);
}

/* -- texts ---------------------------------------------------------------------------------------------- */

int64_t imap_backoff(const char *text) {
    const char *at = strcasestr(text, "backoff");
    at = at ? strpbrk(at, "0123456789") : NULL;
    int64_t value = 0;
    for (; at && *at >= '0' && *at <= '9' && value < BACKOFF_MAX_MS; at++)
        value = value * 10 + (*at - '0');
    if (at)
        at += strspn(at, " ");
    if (at && strncasecmp(at, "sec", 3) == 0)
        value *= 1000;
    return value < BACKOFF_MAX_MS ? value : BACKOFF_MAX_MS;
}

/* Keeps the server's words for a person, printable and short, and how long it wants to be left alone. */
static void response_text(struct imap_session *s) {
    const struct imap_parser *p = &s->parser;
    const char *text = p->info_len ? p->text.data + p->info_offset : "";
    size_t left = p->info_len;
    for (; left > 0 && *text == ' '; left--)
        text++;
    size_t n = left < sizeof s->text - 1 ? left : sizeof s->text - 1;
    memcpy(s->text, text, n);
    s->text[n] = '\0';
    for (size_t i = 0; i < n; i++)
        if (s->text[i] < ' ' || s->text[i] > '~')
            s->text[i] = '?';
    s->backoff_ms = imap_backoff(s->text);
}

/* -- looking at responses ------------------------------------------------------------------------------- */

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

int imap_vanished(const struct imap_parser *p, bool *ret_earlier, struct uidset *ret) {
    if (p->line != IMAP_LINE_UNTAGGED || !imap_node_is(p, &p->nodes[0], "VANISHED"))
        return 0;
    const struct imap_node *set = imap_node_at(p, 1, p->count);
    bool earlier = set && set->type == IMAP_LIST && imap_node_at(p, 2, set->end) &&
                   imap_node_is(p, &p->nodes[2], "EARLIER");
    if (earlier)
        set = imap_node_at(p, set->end, p->count);
    int r = set && set->type == IMAP_ATOM ? uidset_read(imap_node_text(p, set), set->len, ret) : ERR_INVALID;
    if (r == ERR_INVALID)
        return err_set(ERR_PROTOCOL, "the mail server told in a malformed way which messages are gone");
    if (r < 0)
        return r;
    *ret_earlier = earlier;
    return 1;
}

/* -- taking them in ------------------------------------------------------------------------------------- */

static void response_told(struct imap_session *s) {
    s->told = true;
    if (s->on_mailbox)
        s->on_mailbox(s->ctx, &s->parser);
}

/* VANISHED without EARLIER takes the place of EXPUNGE. */
static int response_vanished(struct imap_session *s) {
    cleanup(uidset) struct uidset gone = {0};
    bool earlier = false;
    int r = imap_vanished(&s->parser, &earlier, &gone);
    if (r <= 0 || earlier)
        return r < 0 ? r : 0;
    uint64_t n = uidset_count(&gone);
    s->exists -= n < s->exists ? (uint32_t)n : s->exists;
    s->changed = s->changed || !imap_command_count(s, IMAP_KIND_EXPUNGE);
    return 0;
}

/* What happened to the selected mailbox. */
static int response_mailbox(struct imap_session *s) {
    const struct imap_parser *p = &s->parser;
    uint64_t number = 0;
    if (imap_is_numbered(p, "EXISTS", &number) && number <= UINT32_MAX) {
        s->changed = s->changed || s->exists != number;
        s->exists = (uint32_t)number;
    } else if (imap_is_numbered(p, "EXPUNGE", &number)) {
        s->exists -= s->exists > 0 ? 1 : 0;
        s->changed = s->changed || !imap_command_count(s, IMAP_KIND_EXPUNGE);
    } else if (imap_is_numbered(p, "FETCH", &number)) {
        s->changed = s->changed || !imap_command_count(s, IMAP_KIND_FETCH);
    } else {
        return response_vanished(s);
    }
    return 0;
}

static bool response_is_overflow(const struct imap_parser *p) {
    return p->count >= 3 && p->nodes[1].type == IMAP_CODE &&
           imap_node_is(p, &p->nodes[2], "NOTIFICATIONOVERFLOW");
}

static int response_untagged(struct imap_session *s) {
    const struct imap_parser *p = &s->parser;
    const struct imap_node *word = &p->nodes[0];
    bool leaving = s->leaving;
    if (imap_node_is(p, word, "BYE")) {
        response_text(s);
        return err_set(ERR_UNREACHABLE, "the mail server ended the session: %s", s->text);
    }
    if (imap_node_is(p, word, "CAPABILITY")) {
        imap_capabilities(s, 1, p->count);
    } else if (imap_node_is(p, word, "ENABLED")) {
        if (imap_command_count(s, IMAP_KIND_ENABLE))
            imap_enabled(s);
    } else if (imap_node_is(p, word, "OK")) {
        imap_response_code(s, false, 0);
        if (response_is_overflow(p))
            response_told(s);
    } else if (imap_node_is(p, word, "STATUS") || imap_node_is(p, word, "LIST")) {
        response_told(s);
    } else {
        int r = leaving ? 0 : response_mailbox(s);
        if (r < 0 || leaving)
            return r;
    }
    return IMAP_NEXT_UNTAGGED;
}

/* What the end of a command means for the session. */
static void response_done(struct imap_session *s, unsigned kinds) {
    if (kinds & (IMAP_KIND_APPEND | IMAP_KIND_COPY)) {
        if (!s->copied_fresh || s->result != IMAP_OK)
            imap_copied_clear(&s->copied);
        s->copied_fresh = false;
    }
    if (kinds & IMAP_KIND_SELECT) {
        s->selected = s->result == IMAP_OK;
        s->leaving = s->changed = false;
    }
    if (kinds & IMAP_KIND_LEAVE) {
        s->selected = s->selected && s->result != IMAP_OK;
        s->leaving = false;
    }
}

static int response_tagged(struct imap_session *s) {
    static const char *const words[] = {[IMAP_OK] = "OK", [IMAP_NO] = "NO", [IMAP_BAD] = "BAD"};
    const struct imap_parser *p = &s->parser;
    size_t result = 0;
    unsigned kinds = 0;
    while (result < sizeof words / sizeof *words && !imap_node_is(p, &p->nodes[0], words[result]))
        result++;
    if (result == sizeof words / sizeof *words)
        return err_set(ERR_PROTOCOL, "the mail server ended a command with neither OK, NO nor BAD");
    int r = imap_command_close(s, p->tag, &kinds);
    if (r < 0)
        return r;
    if (kinds & IMAP_KIND_SELECT)
        s->leaving = false;
    imap_response_code(s, true, kinds);
    response_text(s);
    s->result = (enum imap_result)result;
    s->code = imap_response_code_of(p);
    if (result == IMAP_OK)
        s->backoff_ms = 0;
    if (s->code == IMAP_CODE_NONE && s->backoff_ms)
        s->code = IMAP_CODE_BUSY;
    response_done(s, kinds);
    return kinds & IMAP_KIND_HIDDEN ? 0 : IMAP_NEXT_DONE;
}

int imap_response(struct imap_session *s) {
    if (s->answers++ > BUDGET + (uint64_t)s->exists * 2)
        return err_set(ERR_PROTOCOL, "the mail server does not stop answering one command");
    switch (s->parser.line) {
    case IMAP_LINE_CONTINUE:
        return IMAP_NEXT_CONTINUE;
    case IMAP_LINE_UNTAGGED:
        return response_untagged(s);
    default:
        return response_tagged(s);
    }
}
