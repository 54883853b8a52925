#include "agent/mail/imap/command.h"
#include "agent/mail/imap/response.h"

#include <string.h>

#define KEYWORDS_MAX ((size_t)64 << 10) /* bytes of those that are kept */

static const struct {
    const char *name;
    enum imap_code code;
} names[] = {
    {"TRYCREATE", IMAP_CODE_TRYCREATE},
    {"NONEXISTENT", IMAP_CODE_NONEXISTENT},
    {"ALREADYEXISTS", IMAP_CODE_ALREADYEXISTS},
    {"NOPERM", IMAP_CODE_NOPERM},
    {"CANNOT", IMAP_CODE_CANNOT},
    {"OVERQUOTA", IMAP_CODE_OVERQUOTA},
    {"TOOBIG", IMAP_CODE_TOOBIG},
    {"UNAVAILABLE", IMAP_CODE_BUSY},
    {"INUSE", IMAP_CODE_BUSY},
    {"LIMIT", IMAP_CODE_BUSY},
    {"THROTTLED", IMAP_CODE_BUSY},
    {"CORRUPTION", IMAP_CODE_CORRUPTION},
};

/* The name of the response's code, or NULL where it has none. */
static const struct imap_node *code_name(const struct imap_parser *p) {
    return p->count >= 3 && p->nodes[1].type == IMAP_CODE && p->nodes[1].end > 2 ? &p->nodes[2] : NULL;
}

enum imap_code imap_response_code_of(const struct imap_parser *p) {
    const struct imap_node *name = code_name(p);
    for (size_t i = 0; name && i < sizeof names / sizeof *names; i++)
        if (imap_node_is(p, name, names[i].name))
            return names[i].code;
    return IMAP_CODE_NONE;
}

static void code_permanent(struct imap_session *s, const struct imap_node *list) {
    const struct imap_parser *p = &s->parser;
    if (list->type != IMAP_LIST)
        return;
    s->permanent = imap_flags(p, list);
    s->permanent_any = false;
    buf_clear(&s->keywords);
    uint32_t first = (uint32_t)(list - p->nodes) + 1;
    for (const struct imap_node *n; (n = imap_node_at(p, first, list->end)); first = n->end) {
        const char *text = imap_node_text(p, n);
        if (imap_node_is(p, n, "\\*"))
            s->permanent_any = true;
        else if (n->type == IMAP_ATOM && n->len > 0 && *text != '\\')
            /* with its NUL, which the buffer writes behind what it keeps; over the cap it is left out */
            if (s->keywords.len + n->len < KEYWORDS_MAX && buf_reserve(&s->keywords, n->len + 1) == 0 &&
                buf_add(&s->keywords, text, n->len) == 0)
                (void)buf_add(&s->keywords, "", 1);
    }
}

void imap_copied_clear(struct imap_copied *c) {
    uidset_finish(&c->from);
    uidset_finish(&c->to);
    *c = (struct imap_copied){0};
}

/* A set of existing UIDs: with neither "*" nor more ranges than are taken. */
static bool code_uids(const struct imap_parser *p, const struct imap_node *node, struct uidset *ret) {
    const char *text = imap_node_text(p, node);
    return node->type == IMAP_ATOM && !memchr(text, '*', node->len) &&
           uidset_read(text, node->len, ret) == 0 && ret->n <= IMAP_COPY_RANGES_MAX;
}

/* "[APPENDUID 38505 3955]", "[COPYUID 38505 304,319:320 3956:3958]". */
static void code_copied(struct imap_session *s, unsigned kind) {
    const struct imap_parser *p = &s->parser;
    uint32_t end = p->nodes[1].end;
    const struct imap_node *validity = imap_node_at(p, 3, end), *from = imap_node_at(p, 4, end),
                           *to = imap_node_at(p, 5, end);
    struct imap_copied copied = {0};
    uint64_t number = 0, uid = 0;
    bool good =
        validity && from && imap_node_number(p, validity, &number) && number > 0 && number <= UINT32_MAX;
    if (good && kind == IMAP_KIND_APPEND)
        good = imap_node_number(p, from, &uid) && uid > 0 && uid <= UINT32_MAX;
    else if (good)
        good = to && code_uids(p, from, &copied.from) && code_uids(p, to, &copied.to) &&
               uidset_count(&copied.from) == uidset_count(&copied.to);
    if (!good) {
        imap_copied_clear(&copied);
        return;
    }
    copied.uidvalidity = (uint32_t)number;
    copied.uid = (uint32_t)uid;
    imap_copied_clear(&s->copied);
    s->copied = copied;
    s->copied_fresh = true;
}

/* APPENDUID and COPYUID count for the command that they can only be about. */
static bool code_is_copied(struct imap_session *s, const struct imap_node *name, bool tagged,
                           unsigned kinds) {
    unsigned kind = imap_node_is(&s->parser, name, "APPENDUID") ? IMAP_KIND_APPEND
                    : imap_node_is(&s->parser, name, "COPYUID") ? IMAP_KIND_COPY
                                                                : 0;
    if (kind && (tagged ? (kinds & kind) != 0 : imap_command_count(s, kind) == 1))
        code_copied(s, kind);
    return kind != 0;
}

/* The codes with a number, about the mailbox. */
static void code_number(struct imap_session *s, const struct imap_node *name, uint64_t number,
                        bool selecting) {
    const struct imap_parser *p = &s->parser;
    if (imap_node_is(p, name, "UIDVALIDITY") && number <= UINT32_MAX) {
        s->changed = s->changed || s->uidvalidity != number;
        s->uidvalidity = (uint32_t)number;
    } else if (imap_node_is(p, name, "UIDNEXT") && number <= UINT32_MAX) {
        s->uidnext = (uint32_t)number;
    } else if (imap_node_is(p, name, "HIGHESTMODSEQ") && selecting) {
        s->modseq = number;
    }
}

/* "[MAILBOXID (id)]" (RFC 8474 section 4.2). */
static void code_object(struct imap_session *s, const struct imap_node *list) {
    const struct imap_parser *p = &s->parser;
    const struct imap_node *id = imap_node_at(p, (uint32_t)(list - p->nodes) + 1, list->end);
    uint64_t hash = 14695981039346656037U; /* FNV-1a */
    if (!id || id->type == IMAP_LIST)
        return;
    for (const char *c = imap_node_text(p, id), *end = c + id->len; c < end; c++)
        hash = (hash ^ (unsigned char)*c) * 1099511628211U;
    s->object = hash ? hash : 1;
}

static void code_mailbox(struct imap_session *s, const struct imap_node *name, bool selecting) {
    const struct imap_parser *p = &s->parser;
    const struct imap_node *value = imap_node_at(p, 3, p->nodes[1].end);
    uint64_t number = 0;
    if (imap_node_is(p, name, "READ-ONLY"))
        s->read_only = true;
    else if (imap_node_is(p, name, "READ-WRITE"))
        s->read_only = false;
    else if (imap_node_is(p, name, "NOMODSEQ"))
        s->no_modseq = true;
    else if (value && imap_node_is(p, name, "PERMANENTFLAGS"))
        code_permanent(s, value);
    else if (value && value->type == IMAP_LIST && imap_node_is(p, name, "MAILBOXID"))
        code_object(s, value);
    else if (value && imap_node_number(p, value, &number))
        code_number(s, name, number, selecting);
}

void imap_response_code(struct imap_session *s, bool tagged, unsigned kinds) {
    const struct imap_parser *p = &s->parser;
    const struct imap_node *name = code_name(p);
    bool selecting = kinds & IMAP_KIND_SELECT || imap_command_count(s, IMAP_KIND_SELECT);
    if (!name || code_is_copied(s, name, tagged, kinds))
        return;
    if (imap_node_is(p, name, "CAPABILITY"))
        imap_capabilities(s, 3, p->nodes[1].end);
    else if (imap_node_is(p, name, "CLOSED") && selecting)
        s->leaving = s->leaving && imap_command_count(s, IMAP_KIND_HIDDEN) > 0;
    else if (!s->leaving)
        code_mailbox(s, name, selecting);
}
