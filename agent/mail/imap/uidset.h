/*
 * UID sets (RFC 3501 sequence-set): "1:4,7,9:12". Ranges stay ranges: a server's "1:4294967295" or "12:*" is
 * never expanded.
 */
#ifndef SATCHEL_AGENT_MAIL_IMAP_UIDSET_H
#define SATCHEL_AGENT_MAIL_IMAP_UIDSET_H

#include "platform/base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UIDSET_RANGES_MAX 1000000

struct uidset_range {
    uint32_t first, last; /* first <= last; "*" is UINT32_MAX */
};

/* In the order in which it was read; uidset_sort() brings it into that of the UIDs. Zeros are an empty set.
 */
struct uidset {
    struct uidset_range *ranges; /* owned */
    size_t n, allocated;
};

void uidset_finish(struct uidset *s);
#define uidset_cleanup uidset_finish

/* Adds one range, unsorted. ERR_TOO_LARGE, ERR_SYSTEM. */
int uidset_add(struct uidset *s, uint32_t first, uint32_t last);

/* Reads `n` bytes of text and adds its ranges; "7:4" is "4:7". ERR_INVALID for anything malformed (also 0,
 * numbers over 2^32-1, an empty set): `s` is then unchanged. ERR_TOO_LARGE over UIDSET_RANGES_MAX. */
int uidset_read(const char *text, size_t n, struct uidset *s);

/* Sorts, and joins what overlaps or touches. */
void uidset_sort(struct uidset *s);

/* Whether a sorted set holds the UID. */
bool uidset_has(const struct uidset *s, uint32_t uid);

/* How many UIDs, each range for itself. */
uint64_t uidset_count(const struct uidset *s);

/* The UID at that place in the order of reading ("7:5" counts upwards from 5); 0 behind the end. */
uint32_t uidset_at(const struct uidset *s, uint64_t index);

/*
 * Appends the longest set of the first numbers that stays within `max` bytes and gives how many of them it
 * covers in *ret_used. `uids` rises strictly. ERR_SYSTEM without memory.
 */
int uidset_write(const uint32_t *uids, size_t n, size_t max, struct buf *ret, size_t *ret_used);

#endif
