/*
 * What the child tells its supervisor (events of mail.h). Any thread; events leave whole and in order. Status
 * and progress are limited to five a second, and the last state always goes out: report_flush() before every
 * long wait. When the supervisor is gone, events are dropped; the reader of its socket notices the end.
 */
#ifndef SATCHEL_AGENT_MAIL_SYNC_REPORT_H
#define SATCHEL_AGENT_MAIL_SYNC_REPORT_H

#include <cjson/cJSON.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define REPORT_TEXT_MAX 400

struct report {
    int fd; /* borrowed */
    pthread_mutex_t lock;
    char *sent;          /* the last status, to tell whether anything changed; owned */
    int64_t status_at;   /* clock_boot_ms() of it */
    int64_t progress_at; /* and of the last progress */

    /* The engine's own, changed by it alone. */
    const char *imap; /* "ok", "auth-failed", ... */
    const char *push; /* "notify", "idle" or "poll" */
    int64_t folders, messages, pending, asks;
    int64_t last_sync; /* clock_real_ms(), 0: never */
    int64_t retry_ms;
    char text[REPORT_TEXT_MAX];
};

void report_init(struct report *r, int fd);
void report_finish(struct report *r);

/* Sends the status if it differs from the last one, and 200 ms passed since. */
void report_status(struct report *r);

/* The same without the limit. */
void report_flush(struct report *r);

/* `bytes` came so far, of an estimated `bytes_total`. */
void report_progress(struct report *r, const char *folder, int64_t done, int64_t total, int64_t bytes,
                     int64_t bytes_total);

/* Answers to single operations. */
void report_tried(struct report *r, const char *imap, const char *text);
void report_synced(struct report *r, int64_t id, bool ok, const char *text);

/* The word for an error code as the protocol has it. */
const char *report_imap_word(int code);

#endif
