/*
 * Time. Deadlines are milliseconds of CLOCK_BOOTTIME, which goes on through suspend and cannot be set;
 * moments told to people and to other machines are milliseconds of the real-time clock, written as RFC 3339
 * in UTC.
 */
#ifndef SATCHEL_BASE_CLOCK_H
#define SATCHEL_BASE_CLOCK_H

#include <stdint.h>

#define CLOCK_RFC3339_SIZE sizeof "2026-01-01T00:00:00.000Z"

/* Where the time comes from. Tests put another source in place, before any thread is started; programs never
 * do. */
struct clock_source {
    int64_t (*boot_ms)(void);
    int64_t (*real_ms)(void);
};

/* NULL: the system's clocks again. The source is borrowed. */
void clock_set_source(const struct clock_source *source);

/* Milliseconds of CLOCK_BOOTTIME. */
int64_t clock_boot_ms(void);

/* Milliseconds since 1970 by the real-time clock. */
int64_t clock_real_ms(void);

/* Writes `real_ms` (years 1970 to 9999) into `out` with milliseconds and returns it. */
char *clock_rfc3339(int64_t real_ms, char out[CLOCK_RFC3339_SIZE]);

/* Milliseconds since 1970 of an RFC 3339 moment (any offset), or ERR_INVALID. */
int64_t clock_parse_rfc3339(const char *text);

/* Milliseconds left until `deadline`, for poll(2): 0 when it has passed, -1 for INT64_MAX, at most one day.
 */
int clock_left(int64_t deadline);

#endif
