/*
 * CSV (RFC 4180) from bytes: quoted fields, doubled quotes, line breaks inside quotes, LF or CRLF. A UTF-8
 * byte order mark at the beginning is skipped.
 */
#ifndef SATCHEL_SERVER_DOMAIN_CSV_H
#define SATCHEL_SERVER_DOMAIN_CSV_H

#include "platform/base/buf.h"

#include <stddef.h>

#define CSV_FIELDS_MAX 8

struct csv {
    const char *at, *end; /* borrowed */
    size_t line;          /* of the record that was read last, from 1 */
    size_t next_line;
    struct buf text; /* owned: the fields of the record, each with a NUL */
    size_t n;
    const char *fields[CSV_FIELDS_MAX];
};

void csv_init(struct csv *c, const char *data, size_t n);
void csv_finish(struct csv *c);
#define csv_cleanup csv_finish

/* Reads the next record into `n` and `fields`: 1, or 0 at the end. ERR_INVALID for a record that is malformed
 * (it was skipped; the next call goes on behind it). Empty lines are passed over. */
int csv_next(struct csv *c);

#endif
