#include "agent/state/progress.h"

#define PROGRESS_MARK_MS 5000
#define PROGRESS_LEAST_MS 200                  /* less tells nothing about speed */
#define PROGRESS_MAX (INT64_C(1) << 53)        /* as JSON has it */
#define PROGRESS_ETA_MAX (INT64_C(10) * 86400) /* longer is a guess about nothing */

static int64_t progress_cut(int64_t value) {
    return value < 0 ? 0 : value > PROGRESS_MAX ? PROGRESS_MAX : value;
}

void progress_update(struct progress *p, int64_t now, int64_t done, int64_t total, int64_t bytes,
                     int64_t bytes_total) {
    const struct progress_mark mark = {.at = now, .done = progress_cut(done), .bytes = progress_cut(bytes)};
    bool anew = !p->running || mark.done < p->older.done || mark.bytes < p->older.bytes;
    if (anew)
        p->older = mark;
    else if (now - p->newer.at >= PROGRESS_MARK_MS)
        p->older = p->newer;
    if (anew || now - p->newer.at >= PROGRESS_MARK_MS)
        p->newer = mark;
    p->done = mark.done;
    p->bytes = mark.bytes;
    p->total = progress_cut(total);
    p->bytes_total = progress_cut(bytes_total);
    p->running = p->done < p->total;
    p->updates++;
}

void progress_end(struct progress *p) {
    p->running = false;
}

/* What is left at this speed, in whole seconds that have begun; -1: not known. */
static int64_t progress_eta(const struct progress *p, double rate, double byte_rate) {
    double left = p->bytes_total > p->bytes && byte_rate > 0 ? (double)(p->bytes_total - p->bytes) / byte_rate
                  : rate > 0                                 ? (double)(p->total - p->done) / rate
                                                             : -1;
    return left < 0 || left > (double)PROGRESS_ETA_MAX ? -1 : (int64_t)left + ((double)(int64_t)left < left);
}

cJSON *progress_json(const struct progress *p, int64_t now) {
    cleanup(cJSON) cJSON *o = cJSON_CreateObject();
    int64_t elapsed = now - p->older.at;
    double seconds = elapsed < PROGRESS_LEAST_MS ? 0 : (double)elapsed / 1000;
    double rate = seconds > 0 ? (double)(p->done - p->older.done) / seconds : 0,
           byte_rate = seconds > 0 ? (double)(p->bytes - p->older.bytes) / seconds : 0;
    int64_t eta = p->done < p->total ? progress_eta(p, rate, byte_rate) : 0;
    int r = json_add_int(o, "done", p->done) | json_add_int(o, "total", p->total) |
            json_add_int(o, "bytes", p->bytes) | json_add_int(o, "bytes_total", p->bytes_total) |
            json_add_int(o, "rate", (int64_t)rate) | json_add_int(o, "byte_rate", (int64_t)byte_rate);
    r |= eta < 0 ? json_add_str(o, "eta_seconds", NULL) : json_add_int(o, "eta_seconds", eta);
    return r < 0 ? NULL : steal(o);
}
