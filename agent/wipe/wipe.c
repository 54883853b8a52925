#include "agent/wipe/wipe.h"
#include "agent/wipe/wipe_journal.h"
#include "agent/wipe/wipe_steps.h"
#include "platform/base/clock.h"
#include "platform/base/encode.h"
#include "platform/base/err.h"
#include "platform/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>

/* How long one call to the keyring may take in each round of all steps, and the pause before the round. */
static const struct { int keyring_ms, pause_ms; } wipe_rounds[] = {{2000, 0}, {2000, 200}, {4000, 500}};

static const char DONE[] = "done", FAILED[] = "failed", NOTHING[] = "nothing-to-do";

int wipe_pending(int state_dir, cJSON **ret_journal) {
    int r = wipe_journal_load(state_dir, ret_journal);
    return r == 0 ? WIPE_PENDING : r == ERR_NOT_FOUND ? 0 : r;
}

int wipe_set_aside(int state_dir) {
    /* What lies at an older name must not be in the way, and may be a directory. */
    char id[RANDOM_ID_SIZE],
        name[sizeof WIPE_JOURNAL_NAME + sizeof ".bad." + RANDOM_ID_SIZE] = WIPE_JOURNAL_NAME ".bad";
    if (faccessat(state_dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        (void)snprintf(name, sizeof name, WIPE_JOURNAL_NAME ".bad.%s", random_id(id));
    if (renameat(state_dir, WIPE_JOURNAL_NAME, state_dir, name) < 0 && errno != ENOENT)
        return err_errno("cannot move " WIPE_JOURNAL_NAME " aside");
    return fsync(state_dir) < 0 ? err_errno("cannot move " WIPE_JOURNAL_NAME " aside") : 0;
}

int wipe_begin(int state_dir, const cJSON *cause) {
    cleanup(cJSON) cJSON *old = NULL;
    int r = wipe_pending(state_dir, &old);
    if (r < 0) { /* not a journal, or a link, or not to be read: it must not be in the way of an order */
        log_warning("%s; moved aside for the new one", err_text());
        r = wipe_set_aside(state_dir);
    }
    if (r != 0)
        return r;
    cleanup(free) char *text = json_print(cause);
    if (!text || !cJSON_IsObject(cause))
        return err_set(ERR_INVALID, "the wipe has no usable cause");
    if (strlen(text) > WIPE_CAUSE_MAX)
        return err_set(ERR_TOO_LARGE, "the cause of the wipe is too large");
    cleanup(cJSON) cJSON *journal = wipe_journal_new(cause);
    if (!journal)
        return err_set(ERR_SYSTEM, "no memory for the journal of the wipe");
    /* What could not be read back (nested too deep, say) would be no journal at the next start. */
    cleanup(cJSON) cJSON *again = NULL;
    cleanup(free) char *whole = json_print(journal);
    r = whole ? wipe_journal_parse(whole, strlen(whole), &again) : ERR_SYSTEM;
    if (r < 0)
        return err_context(r, "the wipe has no usable cause");
    wipe_journal_clean(state_dir);
    return wipe_journal_save(state_dir, journal);
}

/* The journal helps the receipt; that it cannot be written must not save the mail. */
static void save(const struct wipe_run *w) {
    if (wipe_journal_save(w->target->state_dir, w->journal) < 0)
        log_error("%s; the wipe goes on", err_text());
}

static void set_int(cJSON *object, const char *key, int64_t value) {
    cJSON_DeleteItemFromObjectCaseSensitive(object, key);
    (void)json_add_int(object, key, value);
}

/* Keeps the journal ASCII, whatever bytes a path in an error text has. */
static void set_detail(cJSON *entry, const char *text) {
    char clean[1024];
    size_t n = 0;
    for (; *text && n + 1 < sizeof clean; text++)
        clean[n++] = *text >= ' ' && *text <= '~' ? *text : '?';
    clean[n] = '\0';
    cJSON_DeleteItemFromObjectCaseSensitive(entry, "detail");
    if (n)
        (void)json_add_str(entry, "detail", clean);
}

/*
 * What goes into the receipt. A step that finds nothing because an earlier attempt did it (or was killed
 * after it did) is done, and what that attempt told is kept.
 */
static void note_outcome(cJSON *entry, const char *before, int r, int64_t ms, const char *detail) {
    bool repeated = json_int(entry, "attempts", 1) > 1 && !(before && strcmp(before, NOTHING) == 0);
    if (r == WIPE_NOTHING && repeated) {
        (void)json_set_str(entry, "outcome", DONE);
        if (before && strcmp(before, DONE) == 0)
            return;
        detail = "an earlier attempt that was cut off or failed had done it";
    } else {
        (void)json_set_str(entry, "outcome", r < 0 ? FAILED : r == WIPE_NOTHING ? NOTHING : DONE);
    }
    set_int(entry, "duration_ms", ms);
    set_detail(entry, r < 0 ? err_text() : detail);
}

static bool run_step(struct wipe_run *w, const struct wipe_step *step) {
    cJSON *entry = wipe_journal_step(w->journal, step->name);
    if (!entry) {
        log_error("no memory to write down the step %s of the wipe", step->name);
        return step->run(w) >= 0;
    }
    cleanup(cJSON) cJSON *outcome = cJSON_DetachItemFromObjectCaseSensitive(entry, "outcome");
    const char *before = cJSON_IsString(outcome) ? outcome->valuestring : NULL;
    set_int(entry, "attempts", json_int(entry, "attempts", 0) + 1);
    save(w);
    w->detail[0] = '\0';
    int64_t start = clock_boot_ms();
    int r = step->run(w);
    if (r < 0)
        log_warning("wipe: %s failed: %s", step->name, err_text());
    else
        log_info("wipe: %s %s", step->name, r == WIPE_NOTHING ? NOTHING : DONE);
    note_outcome(entry, before, r, clock_boot_ms() - start, w->detail);
    char now[CLOCK_RFC3339_SIZE];
    if (r >= 0 && strcmp(step->name, WIPE_STEP_DESTROY_KEY) == 0 && !json_str(w->journal, "unreadable_at"))
        (void)json_set_str(w->journal, "unreadable_at", clock_rfc3339(clock_real_ms(), now));
    save(w);
    return r >= 0;
}

/* Result. */

static int add_steps(const cJSON *journal, cJSON *result) {
    static const char *const keys[] = {"name", "outcome", "started_at", "duration_ms", "detail"};
    cJSON *steps = cJSON_CreateArray();
    int r = json_add_item(result, "steps", steps);
    const cJSON *entry;
    cJSON_ArrayForEach(entry, json_array(journal, "steps")) {
        cJSON *copy = r == 0 ? cJSON_CreateObject() : NULL;
        if (!copy || !cJSON_AddItemToArray(steps, copy)) {
            cJSON_Delete(copy);
            return ERR_SYSTEM;
        }
        for (size_t i = 0; i < sizeof keys / sizeof *keys && r == 0; i++) {
            const cJSON *value = cJSON_GetObjectItemCaseSensitive(entry, keys[i]);
            r = value ? json_add_item(copy, keys[i], cJSON_Duplicate(value, true)) : 0;
        }
    }
    return r;
}

/* "remove-secrets: the keyring does not answer": the first step that is not well. */
static int add_reason(const cJSON *journal, cJSON *result) {
    const cJSON *entry;
    cJSON_ArrayForEach(entry, json_array(journal, "steps")) {
        const char *outcome = json_str(entry, "outcome");
        if (outcome && strcmp(outcome, FAILED) != 0)
            continue;
        const char *detail = json_str(entry, "detail");
        cleanup(buf) struct buf text = {0};
        int r = buf_printf(&text, "%s: %s", json_str(entry, "name"), detail ? detail : "not finished");
        return r < 0 ? r : json_add_str(result, "reason", text.data);
    }
    return json_add_str(result, "reason", "not finished");
}

/* What was counted before, less what is still there. */
static int add_removed(const struct wipe_run *w, cJSON *result) {
    const cJSON *found = json_object(w->journal, "found");
    int64_t files = json_int(found, "files", 0), bytes = json_int(found, "bytes", 0);
    struct vault_status left;
    if (vault_describe(w->target->vault, true, &left) == 0) {
        files -= (int64_t)left.files < files ? (int64_t)left.files : files;
        bytes -= (int64_t)left.bytes < bytes ? (int64_t)left.bytes : bytes;
    }
    cJSON *removed = cJSON_CreateObject();
    int r = json_add_item(result, "removed", removed);
    if (r == 0)
        r = json_add_int(removed, "files", files);
    return r < 0 ? r : json_add_int(removed, "bytes", bytes);
}

static int copy_member(const cJSON *from, const char *key, cJSON *to) {
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(from, key);
    return json_add_item(to, key, value ? cJSON_Duplicate(value, true) : cJSON_CreateNull());
}

static int make_result(const struct wipe_run *w, bool done, cJSON **ret) {
    char now[CLOCK_RFC3339_SIZE];
    cleanup(cJSON) cJSON *result = cJSON_CreateObject();
    cJSON *vault = cJSON_CreateObject();
    int r = result ? json_add_str(result, "result", done ? DONE : FAILED) : ERR_SYSTEM;
    if (r == 0 && !done)
        r = add_reason(w->journal, result);
    if (r == 0)
        r = add_steps(w->journal, result);
    if (r < 0) {
        cJSON_Delete(vault);
        return err_set(ERR_SYSTEM, "no memory for the result of the wipe");
    }
    r = json_add_item(result, "vault", vault);
    if (r == 0)
        r = json_add_str(vault, "driver", w->target->vault->driver->name);
    if (r == 0)
        r = add_removed(w, result);
    static const char *const members[] = {"checked", "started_at", "unreadable_at"};
    for (size_t i = 0; i < sizeof members / sizeof *members && r == 0; i++)
        r = copy_member(w->journal, members[i], result);
    if (r == 0)
        r = json_add_str(result, "finished_at", clock_rfc3339(clock_real_ms(), now));
    if (r < 0)
        return err_set(ERR_SYSTEM, "no memory for the result of the wipe");
    *ret = steal(result);
    return 0;
}

static bool run_rounds(struct wipe_run *w) {
    struct keyring *k = w->target->keyring;
    int timeout = k->timeout_ms;
    bool well = false;
    for (size_t round = 0; round < sizeof wipe_rounds / sizeof *wipe_rounds && !well; round++) {
        if (wipe_rounds[round].pause_ms)
            (void)poll(NULL, 0, wipe_rounds[round].pause_ms);
        k->timeout_ms = wipe_rounds[round].keyring_ms;
        well = true;
        for (size_t i = 0; i < wipe_steps_n; i++)
            well = run_step(w, &wipe_steps[i]) && well;
    }
    k->timeout_ms = timeout;
    return well;
}

int wipe_run(const struct wipe_target *target, cJSON **ret_result) {
    cleanup(cJSON) cJSON *journal = NULL;
    int r = wipe_pending(target->state_dir, &journal);
    if (r <= 0)
        return r < 0 ? r : err_set(ERR_WRONG_STATE, "no wipe was begun");
    const cJSON *last = json_object(journal, "result");
    const char *word = last ? json_str(last, "result") : NULL;
    /* The file is in the reach of whoever uses this device: "done" is believed after a look. */
    if (word && strcmp(word, DONE) == 0 && wipe_steps_look(target)) {
        *ret_result = cJSON_Duplicate(last, true);
        return *ret_result ? 0 : err_set(ERR_SYSTEM, "no memory for the result of the wipe");
    }
    wipe_journal_clean(target->state_dir);
    struct wipe_run w = {.target = target, .journal = journal};
    bool done = run_rounds(&w);
    cleanup(cJSON) cJSON *result = NULL;
    r = make_result(&w, done, &result);
    if (r < 0)
        return r;
    cJSON_DeleteItemFromObjectCaseSensitive(journal, "result");
    (void)json_add_item(journal, "result", cJSON_Duplicate(result, true));
    save(&w);
    *ret_result = steal(result);
    return 0;
}

int wipe_finish(int state_dir) {
    wipe_journal_clean(state_dir);
    return file_remove(state_dir, WIPE_JOURNAL_NAME);
}
