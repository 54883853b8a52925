#include "agent/mail/imap/uidset.h"
#include "platform/base/err.h"

#include <stdio.h>
#include <stdlib.h>

void uidset_finish(struct uidset *s) {
    free(s->ranges);
    *s = (struct uidset){0};
}

int uidset_add(struct uidset *s, uint32_t first, uint32_t last) {
    if (s->n >= UIDSET_RANGES_MAX)
        return err_set(ERR_TOO_LARGE, "the mail server sent a set of more than %d ranges", UIDSET_RANGES_MAX);
    if (s->n == s->allocated) {
        size_t more = s->allocated ? s->allocated * 2 : 16;
        struct uidset_range *grown = reallocarray(s->ranges, more, sizeof *grown);
        if (!grown)
            return err_set(ERR_SYSTEM, "out of memory");
        s->ranges = grown;
        s->allocated = more;
    }
    s->ranges[s->n++] = (struct uidset_range){first < last ? first : last, first < last ? last : first};
    return 0;
}

/* A number from 1 to 2^32-1, or "*", at *at. 0: neither. */
static uint32_t read_uid(const char *text, size_t n, size_t *at) {
    uint64_t value = 0;
    if (*at < n && text[*at] == '*') {
        ++*at;
        return UINT32_MAX;
    }
    for (; *at < n && text[*at] >= '0' && text[*at] <= '9'; ++*at) {
        value = value * 10 + (uint64_t)(text[*at] - '0');
        if (value > UINT32_MAX)
            return 0;
    }
    return (uint32_t)value;
}

/* "7" or "4:7" at *at, and the comma behind it where another one follows. */
static int read_range(const char *text, size_t n, size_t *at, struct uidset *s) {
    uint32_t first = read_uid(text, n, at), last = first;
    if (first && *at < n && text[*at] == ':') {
        ++*at;
        last = read_uid(text, n, at);
    }
    bool comma = *at < n && text[*at] == ',';
    if (!first || !last || (*at < n && (!comma || *at + 1 == n)))
        return err_set(ERR_INVALID, "the mail server sent a malformed set of messages");
    *at += comma ? 1 : 0;
    return uidset_add(s, first, last);
}

int uidset_read(const char *text, size_t n, struct uidset *s) {
    size_t before = s->n, at = 0;
    int r = 0;
    do
        r = read_range(text, n, &at, s);
    while (r == 0 && at < n);
    if (r < 0)
        s->n = before;
    return r;
}

static int by_first(const void *a, const void *b) {
    uint32_t x = ((const struct uidset_range *)a)->first, y = ((const struct uidset_range *)b)->first;
    return x < y ? -1 : x > y;
}

void uidset_sort(struct uidset *s) {
    size_t kept = 0;
    if (s->n < 2)
        return;
    qsort(s->ranges, s->n, sizeof *s->ranges, by_first);
    for (size_t i = 1; i < s->n; i++) {
        struct uidset_range *last = &s->ranges[kept], next = s->ranges[i];
        if (next.first - 1 > last->last) /* no UID is 0 */
            s->ranges[++kept] = next;
        else if (next.last > last->last)
            last->last = next.last;
    }
    s->n = kept + 1;
}

static int by_place(const void *key, const void *range) {
    uint32_t uid = *(const uint32_t *)key;
    const struct uidset_range *r = range;
    return uid < r->first ? -1 : uid > r->last;
}

bool uidset_has(const struct uidset *s, uint32_t uid) {
    return s->n && bsearch(&uid, s->ranges, s->n, sizeof *s->ranges, by_place);
}

static uint64_t range_count(const struct uidset_range *r) {
    return (uint64_t)r->last - r->first + 1;
}

uint64_t uidset_count(const struct uidset *s) {
    uint64_t count = 0;
    for (size_t i = 0; i < s->n; i++)
        count += range_count(&s->ranges[i]);
    return count;
}

uint32_t uidset_at(const struct uidset *s, uint64_t index) {
    for (size_t i = 0; i < s->n; i++) {
        uint64_t here = range_count(&s->ranges[i]);
        if (index < here)
            return s->ranges[i].first + (uint32_t)index;
        index -= here;
    }
    return 0;
}

int uidset_write(const uint32_t *uids, size_t n, size_t max, struct buf *ret, size_t *ret_used) {
    size_t used = 0, start = ret->len;
    while (used < n) {
        size_t end = used + 1;
        while (end < n && uids[end] == uids[end - 1] + 1)
            end++;
        char part[32];
        int len = end - used > 1
                      ? snprintf(part, sizeof part, "%s%u:%u", used ? "," : "", uids[used], uids[end - 1])
                      : snprintf(part, sizeof part, "%s%u", used ? "," : "", uids[used]);
        if (used > 0 && ret->len - start + (size_t)len > max)
            break;
        int r = buf_add(ret, part, (size_t)len);
        if (r < 0)
            return r;
        used = end;
    }
    *ret_used = used;
    return 0;
}
