#include "agent/wipe/wipe_journal.h"
#include "platform/base/buf.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/base/file.h"
#include "platform/base/log.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>

#define TYPE "wipe-journal"
#define STEPS_MAX 32

cJSON *wipe_journal_new(const cJSON *cause) {
    char now[CLOCK_RFC3339_SIZE];
    cleanup(cJSON) cJSON *j = cJSON_CreateObject();
    cJSON *copy = cJSON_Duplicate(cause, true);
    if (!j || !copy || json_add_str(j, "type", TYPE) < 0 || json_add_int(j, "version", 1) < 0) {
        cJSON_Delete(copy);
        return NULL;
    }
    if (json_add_item(j, "cause", copy) < 0 ||
        json_add_str(j, "started_at", clock_rfc3339(clock_real_ms(), now)) < 0 ||
        json_add_item(j, "steps", cJSON_CreateArray()) < 0)
        return NULL;
    return steal(j);
}

static int check_moment(const cJSON *object, const char *key) {
    const char *text;
    int r = json_need_str(object, key, 64, &text);
    if (r == 0 && clock_parse_rfc3339(text) < 0)
        r = err_set(ERR_INVALID, "\"%s\" is not a moment", key);
    return r;
}

static int check_step(const cJSON *step) {
    const char *text;
    int64_t number;
    if (!cJSON_IsObject(step))
        return err_set(ERR_INVALID, "a step is not an object");
    int r = json_need_str(step, "name", 64, &text);
    if (r == 0)
        r = check_moment(step, "started_at");
    if (r == 0)
        r = json_need_int(step, "attempts", 0, INT32_MAX, &number);
    if (r == 0 && cJSON_HasObjectItem(step, "outcome")) {
        r = json_need_str(step, "outcome", 32, &text);
        if (r == 0 && strcmp(text, "done") != 0 && strcmp(text, "failed") != 0 &&
            strcmp(text, "nothing-to-do") != 0)
            r = err_set(ERR_INVALID, "the outcome of a step is unknown");
    }
    return r;
}

static int check_result(const cJSON *journal) {
    if (!cJSON_HasObjectItem(journal, "result"))
        return 0;
    const cJSON *result = json_object(journal, "result");
    const char *word = result ? json_str(result, "result") : NULL;
    if (!word || (strcmp(word, "done") != 0 && strcmp(word, "failed") != 0))
        return err_set(ERR_INVALID, "its result is unknown");
    return 0;
}

static int check(const cJSON *j) {
    const char *type = cJSON_IsObject(j) ? json_str(j, "type") : NULL;
    int64_t version;
    if (!type || strcmp(type, TYPE) != 0)
        return err_set(ERR_INVALID, "it has another type");
    int r = json_need_int(j, "version", 1, 1, &version);
    if (r == 0 && !json_object(j, "cause"))
        r = err_set(ERR_INVALID, "it has no cause");
    if (r == 0)
        r = check_moment(j, "started_at");
    const cJSON *steps = r == 0 ? json_array(j, "steps") : NULL;
    if (r == 0 && (!steps || cJSON_GetArraySize(steps) > STEPS_MAX))
        r = err_set(ERR_INVALID, "it has no steps");
    const cJSON *step;
    cJSON_ArrayForEach(step, steps) {
        if (r == 0)
            r = check_step(step);
    }
    return r < 0 ? r : check_result(j);
}

int wipe_journal_parse(const char *text, size_t n, cJSON **ret) {
    cleanup(cJSON) cJSON *j = NULL;
    int r = n > WIPE_JOURNAL_MAX ? err_set(ERR_INVALID, "it is too large") : json_parse(text, n, &j);
    if (r == 0)
        r = check(j);
    if (r < 0)
        return err_context(r, WIPE_JOURNAL_NAME " is not the journal of a wipe");
    *ret = steal(j);
    return 0;
}

int wipe_journal_load(int dir, cJSON **ret) {
    cleanup(buf) struct buf text = {0};
    int r = file_read(dir, WIPE_JOURNAL_NAME, WIPE_JOURNAL_MAX, &text);
    if (r == ERR_TOO_LARGE)
        return err_context(ERR_INVALID, WIPE_JOURNAL_NAME " is not the journal of a wipe");
    return r < 0 ? r : wipe_journal_parse(text.data ? text.data : "", text.len, ret);
}

int wipe_journal_save(int dir, const cJSON *journal) {
    cleanup(free) char *text = json_print(journal);
    if (!text)
        return err_errno("cannot write the journal of the wipe");
    int r = file_write_atomic(dir, WIPE_JOURNAL_NAME, text, strlen(text), 0600);
    if (r == 0)
        wipe_hook_saved();
    return r;
}

void wipe_journal_clean(int dir) {
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    if (!stream) {
        if (fd >= 0)
            (void)close(fd);
        return;
    }
    struct dirent *entry;
    while ((entry = readdir(stream))) {
        size_t n = strlen(entry->d_name);
        if (strncmp(entry->d_name, WIPE_JOURNAL_NAME ".", sizeof WIPE_JOURNAL_NAME) == 0 && n > 4 &&
            strcmp(entry->d_name + n - 4, ".tmp") == 0 && file_remove(dir, entry->d_name) < 0)
            log_warning("%s, ignoring", err_text());
    }
    (void)closedir(stream);
}

cJSON *wipe_journal_step(cJSON *journal, const char *name) {
    cJSON *steps = cJSON_GetObjectItemCaseSensitive(journal, "steps"), *step;
    cJSON_ArrayForEach(step, steps) {
        if (strcmp(json_str(step, "name"), name) == 0)
            return step;
    }
    char now[CLOCK_RFC3339_SIZE];
    step = cJSON_CreateObject();
    if (!step || json_add_str(step, "name", name) < 0 ||
        json_add_str(step, "started_at", clock_rfc3339(clock_real_ms(), now)) < 0 ||
        json_add_int(step, "attempts", 0) < 0 || !cJSON_AddItemToArray(steps, step)) {
        cJSON_Delete(step);
        return NULL;
    }
    return step;
}
