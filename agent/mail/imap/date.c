#include "agent/mail/imap/date.h"
#include "platform/base/err.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

/* Exactly `n` digits, or -1. A leading space counts as 0 (date-day-fixed). */
static int digits(const char *text, int n) {
    int value = 0;
    for (int i = 0; i < n; i++) {
        char c = i == 0 && n == 2 && text[0] == ' ' ? '0' : text[i];
        if (c < '0' || c > '9')
            return -1;
        value = value * 10 + (c - '0');
    }
    return value;
}

int imap_date_parse(const char *text, size_t n, int64_t *ret) {
    char s[sizeof "17-Jul-1996 02:44:25 -0700"] = "";
    struct tm tm = {.tm_mon = -1};
    if (n != sizeof s - 1)
        return err_set(ERR_INVALID, "not an IMAP date");
    memcpy(s, text, n);
    for (int i = 0; i < 12; i++)
        if (strncasecmp(s + 3, months[i], 3) == 0)
            tm.tm_mon = i;
    int year = digits(s + 7, 4), zone = digits(s + 22, 4);
    tm.tm_mday = digits(s, 2);
    tm.tm_year = year - 1900;
    tm.tm_hour = digits(s + 12, 2);
    tm.tm_min = digits(s + 15, 2);
    tm.tm_sec = digits(s + 18, 2);
    bool shape = s[2] == '-' && s[6] == '-' && s[11] == ' ' && s[14] == ':' && s[17] == ':' && s[20] == ' ' &&
                 (s[21] == '+' || s[21] == '-');
    if (!shape || tm.tm_mon < 0 || year < 1970 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour < 0 ||
        tm.tm_hour > 23 || tm.tm_min < 0 || tm.tm_min > 59 || tm.tm_sec < 0 || tm.tm_sec > 60 || zone < 0 ||
        zone > 2359)
        return err_set(ERR_INVALID, "not an IMAP date");
    int64_t east = (int64_t)(zone / 100 * 60 + zone % 100) * 60;
    int64_t value = (int64_t)timegm(&tm) - (s[21] == '+' ? east : -east);
    *ret = value < 0 ? 0 : value;
    return 0;
}

static struct tm date_split(int64_t seconds) {
    time_t t = (time_t)(seconds < 0 ? 0 : seconds > 253402300799 ? 253402300799 : seconds);
    struct tm tm = {0};
    (void)gmtime_r(&t, &tm);
    return tm;
}

char *imap_date_day(int64_t seconds, char out[IMAP_DATE_SIZE]) {
    struct tm tm = date_split(seconds);
    (void)snprintf(out, IMAP_DATE_SIZE, "%02u-%s-%04u", (unsigned)tm.tm_mday % 100, months[tm.tm_mon % 12],
                   (unsigned)(tm.tm_year + 1900) % 10000);
    return out;
}

char *imap_date_time(int64_t seconds, char out[IMAP_DATE_TIME_SIZE]) {
    struct tm tm = date_split(seconds);
    char day[IMAP_DATE_SIZE];
    (void)snprintf(out, IMAP_DATE_TIME_SIZE, "%s %02u:%02u:%02u +0000", imap_date_day(seconds, day),
                   (unsigned)tm.tm_hour % 100, (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100);
    return out;
}
