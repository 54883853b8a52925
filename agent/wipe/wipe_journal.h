/*
 * The journal of a wipe as a file and as a document. Used by wipe.c alone; see wipe.h.
 *
 * {"type": "wipe-journal", "version": 1, "cause": {...}, "started_at", "unreadable_at"?,
 *  "found": {"files", "bytes"}?, "checked": [...]?,
 *  "steps": [{"name", "started_at", "attempts", "outcome"?, "duration_ms"?, "detail"?}], "result": {...}?}
 * A step without an outcome was started and not finished.
 */
#ifndef SATCHEL_WIPE_JOURNAL_H
#define SATCHEL_WIPE_JOURNAL_H

#include "platform/base/json.h"

#include <stddef.h>

#define WIPE_JOURNAL_NAME "wipe.json"
#define WIPE_JOURNAL_MAX ((size_t)1 << 20)

/* A new document around a copy of `cause`; NULL without memory. */
cJSON *wipe_journal_new(const cJSON *cause);

/* Reads `n` bytes. ERR_INVALID for everything that wipe_journal_save does not write. */
int wipe_journal_parse(const char *text, size_t n, cJSON **ret);

/* ERR_NOT_FOUND, ERR_INVALID, ERR_SYSTEM. */
int wipe_journal_load(int dir, cJSON **ret);

/* Makes the document durable, atomically. */
int wipe_journal_save(int dir, const cJSON *journal);

/* Removes what a save that was cut off left behind. */
void wipe_journal_clean(int dir);

/* The entry of a step, made where it is absent; NULL without memory. Owned by the journal. */
cJSON *wipe_journal_step(cJSON *journal, const char *name);

/* Called after each save. Does nothing; the crash test brings another one (tests/crash/wipe_hook.c). */
void wipe_hook_saved(void);

#endif
