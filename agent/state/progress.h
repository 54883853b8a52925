/*
 * A download that is under way: how far it is, how fast it goes and how long it still takes. Fed by whoever
 * hears of it; every number is the other side's word and cut to what can be calculated with. The speed is
 * that of the last five to ten seconds, so that it follows the line and does not jump. Times are
 * clock_boot_ms(). All zero is a valid value: nothing was ever downloaded.
 */
#ifndef SATCHEL_STATE_PROGRESS_H
#define SATCHEL_STATE_PROGRESS_H

#include "platform/base/json.h"

struct progress_mark {
    int64_t at, done, bytes;
};

struct progress {
    bool running;
    uint64_t updates;           /* so far */
    int64_t done, total;        /* messages; also those that were there before */
    int64_t bytes, bytes_total; /* of this download alone; the total is an estimate, 0: not known */
    struct progress_mark older, newer;
};

/* Takes in how far it is; the first one begins a download, and the one that reaches the total ends it. */
void progress_update(struct progress *p, int64_t now, int64_t done, int64_t total, int64_t bytes,
                     int64_t bytes_total);

/* The download ended, or was cut off. The numbers stay. */
void progress_end(struct progress *p);

/*
 * {"done","total","bytes","bytes_total","rate","byte_rate","eta_seconds"}: rates a second, 0 while not known;
 * eta_seconds is null then. The caller's; NULL without memory.
 */
cJSON *progress_json(const struct progress *p, int64_t now);

#endif
