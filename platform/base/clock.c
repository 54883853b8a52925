#include "platform/base/clock.h"
#include "platform/base/err.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define CLOCK_DAY_MS (24 * 3600 * 1000)

static int64_t clock_ms(clockid_t id) {
    struct timespec ts;
    (void)clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static const struct clock_source *clock_source;

void clock_set_source(const struct clock_source *source) {
    clock_source = source;
}

int64_t clock_boot_ms(void) {
    return clock_source ? clock_source->boot_ms() : clock_ms(CLOCK_BOOTTIME);
}

int64_t clock_real_ms(void) {
    return clock_source ? clock_source->real_ms() : clock_ms(CLOCK_REALTIME);
}

char *clock_rfc3339(int64_t real_ms, char out[CLOCK_RFC3339_SIZE]) {
    const int64_t last = INT64_C(253402300799999); /* 9999-12-31T23:59:59.999Z */
    real_ms = real_ms < 0 ? 0 : real_ms > last ? last : real_ms;
    time_t seconds = (time_t)(real_ms / 1000);
    struct tm tm;
    (void)gmtime_r(&seconds, &tm);
    size_t n = strftime(out, CLOCK_RFC3339_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(out + n, CLOCK_RFC3339_SIZE - n, ".%03uZ", (unsigned)(real_ms % 1000) % 1000U);
    return out;
}

int64_t clock_parse_rfc3339(const char *text) {
    struct tm tm = {0};
    const char *p = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    int64_t ms = 0;
    if (!p)
        return err_set(ERR_INVALID, "\"%.40s\" is not an RFC 3339 moment", text);
    if (*p == '.') {
        int64_t unit = 100;
        for (p++; *p >= '0' && *p <= '9'; p++, unit /= 10)
            ms += (*p - '0') * unit;
    }
    int64_t offset = 0;
    if (*p == '+' || *p == '-') {
        int hours, minutes, used = 0;
        if (sscanf(p + 1, "%2d:%2d%n", &hours, &minutes, &used) != 2 || used != 5 || p[6])
            return err_set(ERR_INVALID, "\"%.40s\" has no valid offset", text);
        offset = (*p == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
    } else if (strcmp(p, "Z") != 0) {
        return err_set(ERR_INVALID, "\"%.40s\" is not an RFC 3339 moment", text);
    }
    int64_t seconds = timegm(&tm);
    if (seconds < 0)
        return err_set(ERR_INVALID, "\"%.40s\" lies before 1970", text);
    return (seconds - offset) * 1000 + ms;
}

int clock_left(int64_t deadline) {
    if (deadline == INT64_MAX)
        return -1;
    int64_t left = deadline - clock_boot_ms();
    return left <= 0 ? 0 : left > CLOCK_DAY_MS ? CLOCK_DAY_MS : (int)left;
}
