/*
 * Dates of IMAP (RFC 3501 section 9, date-time and date).
 */
#ifndef SATCHEL_AGENT_MAIL_IMAP_DATE_H
#define SATCHEL_AGENT_MAIL_IMAP_DATE_H

#include <stddef.h>
#include <stdint.h>

#define IMAP_DATE_SIZE sizeof "01-Jan-2026"
#define IMAP_DATE_TIME_SIZE sizeof "01-Jan-2026 00:00:00 +0000"

/* Seconds since 1970 of "17-Jul-1996 02:44:25 -0700". ERR_INVALID for anything else and years before 1970. */
int imap_date_parse(const char *text, size_t n, int64_t *ret);

/* Writes the UTC day of `seconds` (years 1970 to 9999) for SEARCH SINCE. */
char *imap_date_day(int64_t seconds, char out[IMAP_DATE_SIZE]);

/* Writes `seconds` (years 1970 to 9999) as a date-time in UTC for APPEND. */
char *imap_date_time(int64_t seconds, char out[IMAP_DATE_TIME_SIZE]);

#endif
