#include "agent/state/activity.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/base/file.h"
#include "platform/base/json.h"
#include "platform/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#define ACTIVITY_FILE "activity.jsonl"
#define ACTIVITY_READ_MAX ((size_t)8 << 20)

/* Whether the file ends in the middle of a line, which an earlier crash tore off: the next entry then begins
 * a line of its own. */
static bool activity_torn(int fd) {
    struct stat st;
    char last = '\n';
    return fstat(fd, &st) == 0 && st.st_size > 0 && pread(fd, &last, 1, st.st_size - 1) == 1 && last != '\n';
}

static int activity_append(int state_dir, const char *line) {
    cleanup(fd) int fd =
        openat(state_dir, ACTIVITY_FILE, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno("cannot open %s", ACTIVITY_FILE);
    cleanup(buf) struct buf text = {0};
    int r = activity_torn(fd) ? buf_add_str(&text, "\n") : 0;
    if (r == 0)
        r = buf_printf(&text, "%s\n", line);
    if (r < 0)
        return r;
    if (write(fd, text.data, text.len) != (ssize_t)text.len || fdatasync(fd) < 0)
        return err_errno("cannot write %s", ACTIVITY_FILE);
    return 0;
}

void activity_add(int state_dir, const char *what, const char *fmt, ...) {
    char text[600], at[CLOCK_RFC3339_SIZE];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    cleanup(cJSON) cJSON *entry = cJSON_CreateObject();
    int r = json_add_str(entry, "at", clock_rfc3339(clock_real_ms(), at));
    if (r == 0)
        r = json_add_str(entry, "what", what);
    if (r == 0)
        r = json_add_str(entry, "text", text);
    cleanup(free) char *line = r == 0 ? json_print(entry) : NULL;
    r = line ? activity_append(state_dir, line) : err_set(ERR_SYSTEM, "out of memory");
    if (r < 0)
        log_warning("activity record: %s, ignoring", err_text());
}

/* Keeps the last ACTIVITY_READ_MAX bytes: what is older stays in the file. */
static int activity_read(int state_dir, struct buf *ret) {
    cleanup(fd) int fd = openat(state_dir, ACTIVITY_FILE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : err_errno("cannot open %s", ACTIVITY_FILE);
    struct stat st;
    if (fstat(fd, &st) < 0)
        return err_errno("cannot read %s", ACTIVITY_FILE);
    off_t from = st.st_size > (off_t)ACTIVITY_READ_MAX ? st.st_size - (off_t)ACTIVITY_READ_MAX : 0;
    size_t n = (size_t)(st.st_size - from);
    int r = buf_reserve(ret, n);
    if (r < 0)
        return r;
    ssize_t got = pread(fd, ret->data, n, from);
    if (got < 0)
        return err_errno("cannot read %s", ACTIVITY_FILE);
    ret->len = (size_t)got;
    ret->data[ret->len] = '\0';
    return 0;
}

int activity_list(int state_dir, int most, cJSON **ret) {
    cleanup(buf) struct buf text = {0};
    int r = activity_read(state_dir, &text);
    if (r < 0)
        return r;
    cleanup(cJSON) cJSON *list = cJSON_CreateArray();
    for (char *p = text.data; list && p && *p;) {
        size_t n = strcspn(p, "\n");
        cJSON *entry = NULL;
        if (json_parse(p, n, &entry) == 0 && !cJSON_AddItemToArray(list, entry))
            cJSON_Delete(entry);
        p += n + (p[n] == '\n');
    }
    if (!list)
        return err_set(ERR_SYSTEM, "out of memory");
    while (cJSON_GetArraySize(list) > most)
        cJSON_DeleteItemFromArray(list, 0);
    *ret = steal(list);
    return 0;
}

int activity_remove(int state_dir) {
    return file_remove(state_dir, ACTIVITY_FILE);
}
