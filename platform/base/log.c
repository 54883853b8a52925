#include "platform/base/log.h"
#include "platform/base/clock.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *log_program = "satchel";
static enum log_level log_most = LOG_LEVEL_INFO;
static bool log_journal;

void log_init(const char *program, enum log_level most) {
    log_program = program;
    log_most = most;
    log_journal = getenv("JOURNAL_STREAM") != NULL;
}

/* One write(2) a line, so that lines of several threads and processes do not mix. */
__attribute__((format(printf, 2, 0))) static void log_line(enum log_level level, const char *fmt,
                                                           va_list ap) {
    if (level > log_most)
        return;
    char line[2048];
    char now[CLOCK_RFC3339_SIZE];
    static const char *const words[] = {[LOG_LEVEL_ERROR] = "error: ",
                                        [LOG_LEVEL_WARNING] = "warning: ",
                                        [LOG_LEVEL_INFO] = "",
                                        [LOG_LEVEL_DEBUG] = "debug: "};
    int n = log_journal ? snprintf(line, sizeof line, "<%d>", (int)level)
                        : snprintf(line, sizeof line, "%s %s[%d]: %s", clock_rfc3339(clock_real_ms(), now),
                                   log_program, (int)getpid(), words[level]);
    n += vsnprintf(line + n, sizeof line - (size_t)n - 1, fmt, ap);
    if ((size_t)n > sizeof line - 2)
        n = sizeof line - 2;
    for (int i = 0; i < n; i++)
        if ((unsigned char)line[i] < ' ')
            line[i] = ' ';
    line[n++] = '\n';
    (void)!write(STDERR_FILENO, line, (size_t)n);
}

#define LOG_FUNCTION(name, level)                                                                            \
    void name(const char *fmt, ...) {                                                                        \
        va_list ap;                                                                                          \
        va_start(ap, fmt);                                                                                   \
        log_line(level, fmt, ap);                                                                            \
        va_end(ap);                                                                                          \
    }

LOG_FUNCTION(log_error, LOG_LEVEL_ERROR)
LOG_FUNCTION(log_warning, LOG_LEVEL_WARNING)
LOG_FUNCTION(log_info, LOG_LEVEL_INFO)
LOG_FUNCTION(log_debug, LOG_LEVEL_DEBUG)
