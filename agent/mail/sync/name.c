#include "agent/mail/sync/name.h"
#include "agent/mail/imap/mutf7.h"
#include "agent/mail/sync/flags.h"
#include "platform/base/cleanup.h"
#include "platform/base/encode.h"
#include "platform/base/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SECONDS_MAX UINT32_MAX /* the year 2106; a date beyond that is a server's nonsense */

/* In ASCII order. */
static const struct {
    char letter;
    uint32_t flag;
} letters[] = {{'D', IMAP_DRAFT},    {'F', IMAP_FLAGGED}, {'P', FLAGS_FORWARDED},
               {'R', IMAP_ANSWERED}, {'S', IMAP_SEEN},    {'T', IMAP_DELETED}};
#define LETTERS (sizeof letters / sizeof *letters)

bool name_is_inbox(const char *mailbox, size_t n) {
    return n == 5 && strncasecmp(mailbox, "INBOX", 5) == 0;
}

static bool is_reserved(const char *text, size_t n) {
    return n == 3 &&
           (memcmp(text, "cur", 3) == 0 || memcmp(text, "new", 3) == 0 || memcmp(text, "tmp", 3) == 0);
}

static int name_component(const char *text, size_t n, struct buf *ret) {
    size_t start = ret->len;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        bool first = i == 0 && (c == '.' || is_reserved(text, n));
        int r = c < 0x20 || c == 0x7f || c == '%' || c == '/' || first ? buf_printf(ret, "%%%02X", c)
                                                                       : buf_add(ret, &text[i], 1);
        if (r < 0)
            return r;
    }
    if (ret->len - start > NAME_COMPONENT_MAX)
        return err_set(ERR_TOO_LARGE, "a mailbox name is too long");
    return 0;
}

static int name_components(const char *mailbox, size_t n, char delimiter, struct buf *ret) {
    int depth = 0;
    for (size_t at = 0;;) {
        const char *end = delimiter ? memchr(mailbox + at, delimiter, n - at) : NULL;
        size_t len = end ? (size_t)(end - mailbox) - at : n - at;
        cleanup(buf) struct buf text = {0};
        int r = mutf7_decode(mailbox + at, len, &text);
        if (r == 0 && text.len == 0)
            r = err_set(ERR_INVALID, "a mailbox name has an empty part");
        if (r == 0 && memchr(text.data, '\0', text.len))
            r = err_set(ERR_INVALID, "a mailbox name holds a NUL");
        if (r == 0 && ++depth > NAME_DEPTH_MAX)
            r = err_set(ERR_TOO_LARGE, "a mailbox is nested deeper than %d", NAME_DEPTH_MAX);
        if (r == 0 && at > 0)
            r = buf_add(ret, "/", 1);
        if (r == 0)
            r = name_component(text.data, text.len, ret);
        if (r < 0 || !end)
            return r;
        at += len + 1;
    }
}

int name_folder(const char *mailbox, size_t n, char delimiter, struct buf *ret) {
    if (n == 0)
        return err_set(ERR_INVALID, "a mailbox without a name");
    if (n > NAME_MAILBOX_MAX)
        return err_set(ERR_TOO_LARGE, "a mailbox name is too long");
    if (name_is_inbox(mailbox, n))
        return buf_add_str(ret, "INBOX");
    size_t before = ret->len;
    int r = name_components(mailbox, n, delimiter, ret);
    if (r == 0 && ret->len - before > NAME_PATH_MAX)
        r = err_set(ERR_TOO_LARGE, "a mailbox name is too long");
    if (r < 0 && ret->len > before) {
        ret->len = before;
        ret->data[before] = '\0';
    }
    return r;
}

uint32_t name_hash(const char *mailbox, size_t n) {
    uint32_t hash = 2166136261U; /* FNV-1a */
    if (name_is_inbox(mailbox, n))
        mailbox = "INBOX";
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ (unsigned char)mailbox[i]) * 16777619U;
    return hash;
}

void name_away(uint32_t hash, char out[NAME_AWAY_SIZE]) {
    (void)snprintf(out, NAME_AWAY_SIZE, ".satchel-%08x", hash);
}

bool name_is_away(const char *directory) {
    return *directory == '.';
}

size_t name_message(const struct name_message *m, char out[NAME_MESSAGE_SIZE]) {
    int n = snprintf(out, NAME_MESSAGE_SIZE, "%lld.%08x_%u_%u.satchel,U=%u", (long long)m->seconds, m->hash,
                     m->uidvalidity, m->uid, m->uid);
    return n < 0 ? 0 : (size_t)n;
}

bool name_parse(const char *file, struct name_message *ret, const char **ret_suffix) {
    struct name_message m = {0};
    char again[NAME_MESSAGE_SIZE], *end = NULL;
    m.seconds = strtoll(file, &end, 10);
    if (m.seconds < 0 || m.seconds > SECONDS_MAX || *end != '.')
        return false;
    unsigned long long value = strtoull(end + 1, &end, 16);
    m.hash = (uint32_t)value;
    if (*end != '_')
        return false;
    m.uidvalidity = (uint32_t)strtoull(end + 1, &end, 10);
    if (*end != '_')
        return false;
    m.uid = (uint32_t)strtoull(end + 1, &end, 10);
    size_t n = name_message(&m, again); /* the numbers above were read leniently; this is the check */
    if (strncmp(file, again, n) != 0 || (file[n] != '\0' && file[n] != ':'))
        return false;
    *ret = m;
    *ret_suffix = file + n;
    return true;
}

static uint32_t flag_of(char c) {
    if (c >= 'a' && c <= 'z')
        return FLAGS_SLOT(c - 'a');
    for (size_t i = 0; i < LETTERS; i++)
        if (letters[i].letter == c)
            return letters[i].flag;
    return 0;
}

uint32_t name_flags(const char *suffix, bool *ret_odd) {
    uint32_t flags = 0;
    char again[NAME_SUFFIX_MAX];
    if (strncmp(suffix, ":2,", 3) == 0)
        for (const char *c = suffix + 3; *c; c++)
            flags |= flag_of(*c);
    name_suffix("", flags, again);
    if (ret_odd)
        *ret_odd = strcmp(again, suffix) != 0;
    return flags;
}

void name_suffix(const char *old, uint32_t flags, char out[NAME_SUFFIX_MAX]) {
    bool set[128] = {false};
    if (strncmp(old, ":2,", 3) == 0)
        for (const char *c = old + 3; *c; c++)
            if (*c > ' ' && *c < 0x7f && *c != '/' && flag_of(*c) == 0)
                set[(unsigned char)*c] = true;
    for (size_t i = 0; i < LETTERS; i++)
        set[(unsigned char)letters[i].letter] = flags & letters[i].flag;
    for (int i = 0; i < FLAGS_SLOTS; i++)
        set['a' + i] = flags & FLAGS_SLOT(i);
    size_t n = (size_t)snprintf(out, NAME_SUFFIX_MAX, ":2,");
    for (int c = 0; c < 128 && n < NAME_SUFFIX_MAX - 1; c++)
        if (set[c])
            out[n++] = (char)c;
    out[n] = '\0';
}

static int hex_digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* One component without its escapes, in modified UTF-7. */
static int mailbox_component(const char *text, size_t n, char delimiter, struct buf *ret) {
    cleanup(buf) struct buf plain = {0};
    int r = 0;
    for (size_t i = 0; i < n && r == 0; i++) {
        char c = text[i];
        if (c == '%') {
            int high = n - i > 2 ? hex_digit(text[i + 1]) : -1, low = n - i > 2 ? hex_digit(text[i + 2]) : -1;
            if (high < 0 || low < 0)
                return err_set(ERR_INVALID, "a folder's name holds a %% that is no escape");
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (delimiter && c == delimiter)
            return err_set(ERR_INVALID, "a folder's name holds \"%c\", which the mail server uses itself",
                           delimiter);
        r = buf_add(&plain, &c, 1);
    }
    size_t before = ret->len;
    if (r == 0)
        r = mutf7_encode(plain.data ? plain.data : "", plain.len, ret);
    if (r == 0 && delimiter && ret->len > before && memchr(ret->data + before, delimiter, ret->len - before))
        r = err_set(ERR_INVALID, "a folder's name cannot be written for the mail server");
    return r;
}

int name_mailbox(const char *directory, char delimiter, struct buf *ret) {
    cleanup(buf) struct buf mailbox = {0}, again = {0};
    int r = *directory ? 0 : err_set(ERR_INVALID, "a folder without a name");
    for (const char *at = directory; r == 0;) {
        const char *end = strchrnul(at, '/');
        if (*end && !delimiter)
            return err_set(ERR_INVALID, "the mail server has no folders inside folders");
        r = mailbox_component(at, (size_t)(end - at), delimiter, &mailbox);
        if (!*end)
            break;
        if (r == 0)
            r = buf_add(&mailbox, &delimiter, 1);
        at = end + 1;
    }
    if (r == 0 && mailbox.data)
        r = name_folder(mailbox.data, mailbox.len, delimiter, &again);
    if (r == 0 && (!again.data || strcmp(again.data, directory) != 0))
        r = err_set(ERR_INVALID, "a folder's name cannot be kept on the mail server");
    return r < 0 ? r : buf_add(ret, mailbox.data, mailbox.len);
}

void name_foreign(int64_t seconds, char out[NAME_MESSAGE_SIZE]) {
    uint64_t random = 0;
    random_bytes(&random, sizeof random);
    (void)snprintf(out, NAME_MESSAGE_SIZE, "%lld.%016llx.satchel-edited", (long long)seconds,
                   (unsigned long long)random);
}
