#include "agent/mail/imap/session.h"

static const struct {
    const char *name;
    unsigned bit;
} names[] = {
    {"\\Draft", IMAP_DRAFT}, {"\\Flagged", IMAP_FLAGGED}, {"\\Answered", IMAP_ANSWERED},
    {"\\Seen", IMAP_SEEN},   {"\\Deleted", IMAP_DELETED},
};

#define COUNT (sizeof names / sizeof *names)

unsigned imap_flags(const struct imap_parser *p, const struct imap_node *list) {
    unsigned flags = 0;
    if (list->type != IMAP_LIST)
        return 0;
    uint32_t first = (uint32_t)(list - p->nodes) + 1;
    for (const struct imap_node *n; (n = imap_node_at(p, first, list->end)); first = n->end)
        for (size_t i = 0; i < COUNT; i++)
            if (imap_node_is(p, n, names[i].name))
                flags |= names[i].bit;
    return flags;
}

int imap_flags_write(unsigned flags, struct buf *ret) {
    const char *gap = "";
    for (size_t i = 0; i < COUNT; i++) {
        if (!(flags & names[i].bit))
            continue;
        int r = buf_printf(ret, "%s%s", gap, names[i].name);
        if (r < 0)
            return r;
        gap = " ";
    }
    return 0;
}
