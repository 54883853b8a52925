/* Sets of UIDs against a plain look through the ranges. */
#include "agent/mail/imap/uidset.h"

#include <stdlib.h>
#include <string.h>

#define SMALL 200 /* UIDs that are written back */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void need(bool good) {
    if (!good)
        abort();
}

static bool plainly_has(const struct uidset *s, uint32_t uid) {
    for (size_t i = 0; i < s->n; i++)
        if (s->ranges[i].first <= uid && uid <= s->ranges[i].last)
            return true;
    return false;
}

/* Both ends of each range, and what lies beside them. */
static void check_sorted(const struct uidset *read, const struct uidset *sorted) {
    for (size_t i = 0; i < read->n && i < SMALL; i++) {
        const uint32_t ask[] = {read->ranges[i].first - 1, read->ranges[i].first, read->ranges[i].last,
                                read->ranges[i].last + 1};
        for (size_t k = 0; k < 4; k++)
            need(uidset_has(sorted, ask[k]) == plainly_has(read, ask[k]));
    }
    for (size_t i = 0; i < sorted->n; i++) {
        need(sorted->ranges[i].first > 0 && sorted->ranges[i].first <= sorted->ranges[i].last);
        need(i == 0 || sorted->ranges[i].first - 1 > sorted->ranges[i - 1].last);
    }
    need(uidset_count(sorted) <= uidset_count(read));
}

/* What is written is read back as the same. */
static void check_written(const struct uidset *sorted) {
    uint32_t uids[SMALL];
    size_t count = 0, used = 0;
    struct buf text = {0};
    struct uidset again = {0};
    while (count < SMALL && (uids[count] = uidset_at(sorted, count)) != 0)
        count++;
    need(uidset_write(uids, count, 4096, &text, &used) == 0 && used == count);
    need(uidset_read(text.data, text.len, &again) == 0);
    for (size_t i = 0; i < count; i++)
        need(uidset_at(&again, i) == uids[i]);
    need(uidset_at(&again, count) == 0);
    uidset_finish(&again);
    buf_finish(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct uidset read = {0}, sorted = {0};
    int r = uidset_read((const char *)data, n, &read);
    need(r == 0 ? read.n > 0 : read.n == 0);
    if (r == 0 && uidset_read((const char *)data, n, &sorted) == 0) {
        uidset_sort(&sorted);
        check_sorted(&read, &sorted);
        check_written(&sorted);
    }
    uidset_finish(&read);
    uidset_finish(&sorted);
    return 0;
}
