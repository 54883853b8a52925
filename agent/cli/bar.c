#include "agent/cli/bar.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BAR_COLUMNS 80 /* of a terminal that does not know */
#define BAR_WIDTH_MIN 6
#define BAR_WIDTH_MAX 40

#define bar_add(text, ...) ((void)snprintf((text) + strlen(text), BAR_TEXT - strlen(text), __VA_ARGS__))

static void bar_add_eta(char *text, int64_t seconds) {
    if (seconds < 100)
        bar_add(text, ", %lld s left", (long long)seconds);
    else if (seconds < 6000)
        bar_add(text, ", %lld min left", (long long)((seconds + 59) / 60));
    else
        bar_add(text, ", %lld h left", (long long)((seconds + 3599) / 3600));
}

void bar_text(const cJSON *progress, char ret[BAR_TEXT]) {
    int64_t bytes = json_int(progress, "bytes", 0), bytes_total = json_int(progress, "bytes_total", 0),
            rate = json_int(progress, "rate", 0), byte_rate = json_int(progress, "byte_rate", 0),
            eta = json_int(progress, "eta_seconds", -1);
    bool large = bytes >= 1000000000 || bytes_total >= 1000000000;
    double unit = large ? 1e9 : 1e6;
    ret[0] = '\0';
    bar_add(ret, "%lld/%lld messages, %.1f", (long long)json_int(progress, "done", 0),
            (long long)json_int(progress, "total", 0), (double)bytes / unit);
    if (bytes_total > 0)
        bar_add(ret, "/%.1f", (double)bytes_total / unit);
    bar_add(ret, " %s", large ? "GB" : "MB");
    if (rate > 0 || byte_rate > 0)
        bar_add(ret, ", %lld/s, %.1f MB/s", (long long)rate, (double)byte_rate / 1e6);
    if (eta >= 0)
        bar_add_eta(ret, eta);
}

/* The last column stays free, or some terminals go on to the next line. */
static int bar_columns(void) {
    struct winsize size = {0};
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
        return BAR_COLUMNS - 1;
    return size.ws_col - 1;
}

void bar_draw(const cJSON *progress) {
    double done = (double)json_int(progress, "done", 0), total = (double)json_int(progress, "total", 0);
    char text[BAR_TEXT], bar[BAR_WIDTH_MAX + 1] = "";
    if (total <= 0 || done < 0 || done > total)
        return;
    bar_text(progress, text);
    int columns = bar_columns(), room = columns - (int)strlen(text) - (int)strlen("[] ");
    int width = room > BAR_WIDTH_MAX ? BAR_WIDTH_MAX : room, filled = (int)(done / total * width);
    if (width < BAR_WIDTH_MIN) {
        (void)fprintf(stderr, "\r%.*s\033[K", columns, text);
        return;
    }
    memset(bar, '.', (size_t)width);
    memset(bar, '#', (size_t)filled);
    (void)fprintf(stderr, "\r[%s] %s\033[K", bar, text);
}

void bar_clear(void) {
    (void)fprintf(stderr, "\r\033[K");
}
