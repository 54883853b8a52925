/*
 * When each device was last heard of: kept in memory and written in batches, so that a check-in writes
 * nothing. A crash loses the times since the last flush.
 */
#ifndef SATCHEL_SERVER_DOMAIN_SEEN_H
#define SATCHEL_SERVER_DOMAIN_SEEN_H

#include "server-api/server/store/store_device.h"

struct seen;

/* NULL with err_text(). */
struct seen *seen_create(void);
void seen_destroy(struct seen *s);

/* Any thread; milliseconds since 1970. */
void seen_note(struct seen *s, const char *device, int64_t now);

/* The time that is not written yet, or 0. */
int64_t seen_get(struct seen *s, const char *device);

/* Writes what was noted since the last call. Called by main now and then, and at the end. */
int seen_flush(struct seen *s, struct store *store);

#endif
