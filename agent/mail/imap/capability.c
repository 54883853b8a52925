#include "agent/mail/imap/response.h"

#include <strings.h>

#define LIMIT "APPENDLIMIT="

static const struct {
    const char *name;
    unsigned bits;
} names[] = {
    {"IDLE", IMAP_CAP_IDLE},
    {"UIDPLUS", IMAP_CAP_UIDPLUS},
    {"CONDSTORE", IMAP_CAP_CONDSTORE},
    {"QRESYNC", IMAP_CAP_QRESYNC | IMAP_CAP_CONDSTORE}, /* RFC 7162 section 3.2.2 */
    {"ENABLE", IMAP_CAP_ENABLE},
    {"MOVE", IMAP_CAP_MOVE},
    {"LITERAL+", IMAP_CAP_LITERAL_PLUS},
    {"LITERAL-", IMAP_CAP_LITERAL_MINUS},
    {"SPECIAL-USE", IMAP_CAP_SPECIAL_USE},
    {"LIST-EXTENDED", IMAP_CAP_LIST_EXTENDED},
    {"LIST-STATUS", IMAP_CAP_LIST_STATUS},
    {"NOTIFY", IMAP_CAP_NOTIFY},
    {"COMPRESS=DEFLATE", IMAP_CAP_COMPRESS},
    {"ID", IMAP_CAP_ID},
    {"ESEARCH", IMAP_CAP_ESEARCH},
    {"UTF8=ACCEPT", IMAP_CAP_UTF8},
    {"UTF8=ONLY", IMAP_CAP_UTF8},
    {"OBJECTID", IMAP_CAP_OBJECTID},
    {"UNSELECT", IMAP_CAP_UNSELECT},
};

static unsigned capability_bits(const struct imap_parser *p, const struct imap_node *node) {
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (imap_node_is(p, node, names[i].name))
            return names[i].bits;
    return 0;
}

/* APPENDLIMIT=n (RFC 7889). */
static void append_limit(struct imap_session *s, const struct imap_node *node) {
    const char *text = imap_node_text(&s->parser, node);
    size_t begin = sizeof LIMIT - 1;
    uint64_t value = 0;
    if (node->len <= begin || node->len - begin > 18 || strncasecmp(text, LIMIT, begin) != 0)
        return;
    for (size_t i = begin; i < node->len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return;
        value = value * 10 + (uint64_t)(text[i] - '0');
    }
    s->append_limit = value;
}

void imap_capabilities(struct imap_session *s, uint32_t first, uint32_t end) {
    s->capabilities = 0;
    s->append_limit = 0;
    for (const struct imap_node *n; (n = imap_node_at(&s->parser, first, end)); first = n->end) {
        s->capabilities |= capability_bits(&s->parser, n);
        append_limit(s, n);
    }
}

void imap_enabled(struct imap_session *s) {
    uint32_t first = 1;
    for (const struct imap_node *n; (n = imap_node_at(&s->parser, first, s->parser.count)); first = n->end)
        s->enabled |= capability_bits(&s->parser, n) & s->asked;
}
