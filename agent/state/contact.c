#include "agent/state/contact.h"
#include "platform/base/buf.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/base/file.h"
#include "platform/base/json.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define CONTACT_BOOT_ID "/proc/sys/kernel/random/boot_id"
#define CONTACT_MOST (INT64_C(1) << 52) /* of a number in the record */

static int64_t contact_most(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static int64_t contact_least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* A kernel without a boot id has one boot: its time then never counts by the wall clock, which is safe. */
void contact_now(struct contact_clock *ret) {
    struct contact_clock now = {.boot_ms = clock_boot_ms(), .real_ms = clock_real_ms()};
    cleanup(fd) int fd = open(CONTACT_BOOT_ID, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, now.boot, sizeof now.boot - 1) : 0;
    now.boot[n > 0 ? n : 0] = '\0';
    now.boot[strspn(now.boot, "0123456789abcdef-")] = '\0';
    *ret = now;
}

void contact_begin(struct contact *c, const char *stamp, int64_t server_ms, const struct contact_clock *now) {
    *c = (struct contact){
        .server_ms = server_ms, .skew_ms = now->real_ms - server_ms, .boot_ms = now->boot_ms};
    (void)snprintf(c->stamp, sizeof c->stamp, "%s", stamp);
    (void)snprintf(c->boot, sizeof c->boot, "%s", now->boot);
}

void contact_lost(struct contact *c, const struct contact_clock *now) {
    contact_begin(c, "", 0, now);
    c->skew_ms = 0;
    c->lost = true;
    c->counted_ms = CONTACT_EVER;
}

/* How long ago the last contact was by the wall clock: the less of what it says as it is and corrected. */
static int64_t contact_by_wall(const struct contact *c, const struct contact_clock *now) {
    int64_t since = now->real_ms - c->server_ms, corrected = since - c->skew_ms;
    return contact_least(contact_least(since, corrected), CONTACT_EVER);
}

void contact_tick(struct contact *c, const struct contact_clock *now, int64_t cap_ms) {
    bool same = strcmp(c->boot, now->boot) == 0;
    int64_t ran = contact_most(same ? now->boot_ms - c->boot_ms : now->boot_ms, 0);
    int64_t counted = contact_least(c->counted_ms + ran, CONTACT_EVER), sure = c->sure_ms + ran;
    int64_t off = 0;
    if (c->lost)
        off = CONTACT_EVER; /* nothing is known: the wipe stands at its cap */
    else if (!same)
        off = contact_most(contact_by_wall(c, now) - counted, 0);
    c->counted_ms = contact_least(counted + off, CONTACT_EVER);
    c->sure_ms = contact_least(contact_most(sure, contact_least(sure + off, cap_ms)), CONTACT_EVER);
    c->boot_ms = now->boot_ms;
    (void)snprintf(c->boot, sizeof c->boot, "%s", now->boot);
}

void contact_merge(struct contact *c, const struct contact *other) {
    if (strcmp(c->stamp, other->stamp) != 0) {
        if (other->server_ms > c->server_ms)
            *c = *other;
        return;
    }
    c->counted_ms = contact_most(c->counted_ms, other->counted_ms);
    c->sure_ms = contact_most(c->sure_ms, other->sure_ms);
    c->warned |= other->warned;
    c->warned_wipe_ms = contact_most(c->warned_wipe_ms, other->warned_wipe_ms);
}

char *contact_print(const struct contact *c) {
    cleanup(cJSON) cJSON *json = cJSON_CreateObject();
    int r = json_add_str(json, "type", "contact") | json_add_str(json, "stamp", c->stamp) |
            json_add_int(json, "server_ms", c->server_ms) | json_add_int(json, "skew_ms", c->skew_ms) |
            json_add_str(json, "boot", c->boot) | json_add_int(json, "boot_ms", c->boot_ms) |
            json_add_int(json, "counted_ms", c->counted_ms) | json_add_int(json, "sure_ms", c->sure_ms) |
            json_add_bool(json, "lost", c->lost) | json_add_int(json, "warned", c->warned) |
            json_add_int(json, "warned_wipe_ms", c->warned_wipe_ms);
    return r < 0 ? NULL : json_print(json);
}

static int contact_read(const cJSON *json, struct contact *c) {
    const char *type = json_str(json, "type"), *stamp = json_str(json, "stamp"),
               *boot = json_str(json, "boot");
    int64_t warned = 0;
    if (!type || strcmp(type, "contact") != 0 || !stamp || strlen(stamp) >= sizeof c->stamp || !boot ||
        strlen(boot) >= sizeof c->boot)
        return err_set(ERR_INVALID, "not a record of contact");
    const struct {
        const char *key;
        int64_t least, most, *ret;
    } numbers[] = {{"server_ms", 0, CONTACT_MOST, &c->server_ms},
                   {"skew_ms", -CONTACT_MOST, CONTACT_MOST, &c->skew_ms},
                   {"boot_ms", 0, CONTACT_MOST, &c->boot_ms},
                   {"counted_ms", 0, CONTACT_EVER, &c->counted_ms},
                   {"sure_ms", 0, CONTACT_EVER, &c->sure_ms},
                   {"warned", 0, 15, &warned},
                   {"warned_wipe_ms", 0, CONTACT_EVER, &c->warned_wipe_ms}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        int r = json_need_int(json, numbers[i].key, numbers[i].least, numbers[i].most, numbers[i].ret);
        if (r < 0)
            return r;
    }
    c->lost = json_bool(json, "lost", false);
    c->warned = (unsigned)warned;
    (void)snprintf(c->stamp, sizeof c->stamp, "%s", stamp);
    (void)snprintf(c->boot, sizeof c->boot, "%s", boot);
    return 0;
}

int contact_parse(const char *text, size_t n, struct contact *ret) {
    cleanup(cJSON) cJSON *json = NULL;
    struct contact c = {0};
    int r = json_parse(text, n, &json);
    if (r == 0)
        r = contact_read(json, &c);
    if (r == 0)
        *ret = c;
    return r == 0 ? 0 : ERR_INVALID;
}

int contact_load(int state_dir, struct contact *ret) {
    cleanup(buf) struct buf text = {.max = CONTACT_MAX};
    int r = file_read(state_dir, CONTACT_FILE, CONTACT_MAX, &text);
    return r < 0 ? r : contact_parse(text.data ? text.data : "", text.len, ret);
}

int contact_save(int state_dir, const struct contact *c) {
    cleanup(free) char *text = contact_print(c);
    return text ? file_write_atomic(state_dir, CONTACT_FILE, text, strlen(text), 0600)
                : err_set(ERR_SYSTEM, "out of memory");
}

int contact_remove(int state_dir) {
    return file_remove(state_dir, CONTACT_FILE);
}
