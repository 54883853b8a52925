/*
 * The log: one line an event on standard error, with the time, or with the journal's level prefix where the
 * service manager reads it. Any thread. Never given a secret, a subject, an address or a file name of the
 * mail.
 */
#ifndef SATCHEL_BASE_LOG_H
#define SATCHEL_BASE_LOG_H

enum log_level { LOG_LEVEL_ERROR = 3, LOG_LEVEL_WARNING = 4, LOG_LEVEL_INFO = 6, LOG_LEVEL_DEBUG = 7 };

/* Called once at start: the program's name, and the most talkative level that is printed. */
void log_init(const char *program, enum log_level most);

void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
