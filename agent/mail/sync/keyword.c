#include "agent/mail/sync/keyword.h"
#include "platform/base/err.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define FORWARDED "$Forwarded"

void keyword_finish(struct keywords *k) {
    for (int i = 0; i < FLAGS_SLOTS; i++)
        free(k->names[i]);
    *k = (struct keywords){0};
}

/* An atom (RFC 3501 section 9, flag-keyword), of letters that fit a line of the file. */
static bool is_keyword(const char *name, size_t n) {
    if (n == 0 || n > KEYWORD_MAX)
        return false;
    for (size_t i = 0; i < n; i++)
        if (name[i] <= ' ' || name[i] > '~' || strchr("(){%*\"\\]", name[i]))
            return false;
    return true;
}

static bool is_name(const char *known, const char *name, size_t n) {
    return strlen(known) == n && strncasecmp(known, name, n) == 0;
}

int keyword_slot(struct keywords *k, const char *name, size_t n, bool add) {
    int free_slot = -1;
    if (!is_keyword(name, n) || is_name(FORWARDED, name, n))
        return -1;
    for (int i = 0; i < FLAGS_SLOTS; i++) {
        if (k->names[i] && is_name(k->names[i], name, n))
            return i;
        if (!k->names[i] && free_slot < 0)
            free_slot = i;
    }
    if (!add || free_slot < 0)
        return -1;
    k->names[free_slot] = strndup(name, n);
    k->changed = true;
    return k->names[free_slot] ? free_slot : -1;
}

int keyword_place(struct keywords *k, int slot, const char *name) {
    int now = keyword_slot(k, name, strlen(name), false);
    if (now >= 0 || k->names[slot])
        return now >= 0 ? now : keyword_slot(k, name, strlen(name), true);
    k->names[slot] = strdup(name);
    return k->names[slot] ? slot : -1;
}

static void parse_line(struct keywords *k, const char *line, size_t n) {
    size_t digits = 0, slot = 0;
    while (digits < n && digits < 2 && line[digits] >= '0' && line[digits] <= '9')
        slot = slot * 10 + (size_t)(line[digits++] - '0');
    if (digits == 0 || digits == n || line[digits] != ' ' || slot >= FLAGS_SLOTS)
        return;
    const char *name = line + digits + 1;
    size_t len = n - digits - 1;
    if (!is_keyword(name, len) || is_name(FORWARDED, name, len))
        return;
    if (!k->names[slot] && keyword_slot(k, name, len, false) < 0)
        k->names[slot] = strndup(name, len);
}

void keyword_parse(struct keywords *k, const char *text, size_t n) {
    for (size_t at = 0; at < n;) {
        const char *end = memchr(text + at, '\n', n - at);
        size_t len = end ? (size_t)(end - text) - at : n - at;
        parse_line(k, text + at, len > 0 && text[at + len - 1] == '\r' ? len - 1 : len);
        at += len + 1;
    }
}

int keyword_text(const struct keywords *k, struct buf *ret) {
    int r = 0;
    for (int i = 0; i < FLAGS_SLOTS && r == 0; i++)
        if (k->names[i])
            r = buf_printf(ret, "%d %s\n", i, k->names[i]);
    return r;
}

uint32_t keyword_flags(struct keywords *k, const struct imap_parser *p, const struct imap_node *list) {
    uint32_t flags = imap_flags(p, list);
    if (list->type != IMAP_LIST)
        return flags;
    uint32_t first = (uint32_t)(list - p->nodes) + 1;
    for (const struct imap_node *n; (n = imap_node_at(p, first, list->end)); first = n->end) {
        int slot = n->type == IMAP_ATOM ? keyword_slot(k, imap_node_text(p, n), n->len, true) : -1;
        if (slot >= 0)
            flags |= FLAGS_SLOT(slot);
        else if (imap_node_is(p, n, FORWARDED))
            flags |= FLAGS_FORWARDED;
    }
    return flags;
}

int keyword_write(const struct keywords *k, uint32_t flags, struct buf *ret) {
    size_t start = ret->len;
    int r = imap_flags_write(flags & FLAGS_SYSTEM, ret);
    if (r == 0 && flags & FLAGS_FORWARDED)
        r = buf_printf(ret, "%s%s", ret->len > start ? " " : "", FORWARDED);
    for (int i = 0; i < FLAGS_SLOTS && r == 0; i++)
        if (flags & FLAGS_SLOT(i) && k->names[i])
            r = buf_printf(ret, "%s%s", ret->len > start ? " " : "", k->names[i]);
    return r;
}

uint32_t keyword_known(const struct keywords *k) {
    uint32_t known = FLAGS_SYSTEM | FLAGS_FORWARDED;
    for (int i = 0; i < FLAGS_SLOTS; i++)
        known |= k->names[i] ? FLAGS_SLOT(i) : 0;
    return known;
}

static bool is_permanent(const struct imap_session *s, const char *name) {
    for (size_t at = 0; !s->permanent_any && at < s->keywords.len; at += strlen(s->keywords.data + at) + 1)
        if (strcasecmp(s->keywords.data + at, name) == 0)
            return true;
    return s->permanent_any;
}

uint32_t keyword_mask(const struct keywords *k, const struct imap_session *s) {
    uint32_t mask = s->permanent & FLAGS_SYSTEM;
    if (is_permanent(s, FORWARDED))
        mask |= FLAGS_FORWARDED;
    for (int i = 0; i < FLAGS_SLOTS; i++)
        if (k->names[i] && is_permanent(s, k->names[i]))
            mask |= FLAGS_SLOT(i);
    return mask;
}
