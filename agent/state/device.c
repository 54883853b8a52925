#include "agent/state/device.h"
#include "platform/base/err.h"
#include "platform/base/file.h"
#include "platform/base/json.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define DEVICE_FILE "device.json"
#define DEVICE_FILE_MAX ((size_t)1 << 20)

static const char *const device_states[] = {[DEVICE_UNENROLLED] = "unenrolled",
                                            [DEVICE_ENROLLED] = "enrolled",
                                            [DEVICE_LOCKED] = "locked",
                                            [DEVICE_WIPING] = "wiping",
                                            [DEVICE_WIPED] = "wiped"};

const char *device_state_name(enum device_state state) {
    return device_states[state];
}

enum device_state device_state_at_rest(const struct device *d) {
    return d->lock.ordered || d->lock.offline ? DEVICE_LOCKED : DEVICE_ENROLLED;
}

/* The string members, in one table for reading and writing. */
#define DEVICE_FIELD(member, max)                                                                            \
    { #member, offsetof(struct device, member), max }
static const struct {
    const char *key;
    size_t offset, size;
} device_fields[] = {DEVICE_FIELD(server, 300),       DEVICE_FIELD(id, 65),
                     DEVICE_FIELD(organization, 129), DEVICE_FIELD(login, 255),
                     DEVICE_FIELD(address, 255),      DEVICE_FIELD(name, 255),
                     DEVICE_FIELD(fingerprint, 44)};
#define DEVICE_FIELDS (sizeof device_fields / sizeof *device_fields)

static int device_read_lock(const cJSON *json, struct device *d) {
    const cJSON *lock = json_object(json, "lock"), *duty = json_object(json, "duty");
    const char *reason = json_str(lock, "reason"), *order = json_str(duty, "order");
    if ((lock && !reason) || (duty && !order))
        return err_set(ERR_INVALID, "its lock is damaged");
    d->lock.ordered = json_bool(lock, "ordered", false);
    d->lock.offline = json_bool(lock, "offline", false);
    d->lock.since = json_int(lock, "since", 0);
    (void)snprintf(d->lock.reason, sizeof d->lock.reason, "%s", reason ? reason : "");
    d->duty.unlock = json_bool(duty, "unlock", false);
    d->duty.told = json_bool(duty, "told", false);
    (void)snprintf(d->duty.order, sizeof d->duty.order, "%s", order ? order : "");
    bool locked = d->lock.ordered || d->lock.offline;
    if ((d->state == DEVICE_LOCKED && !locked) || (d->state == DEVICE_ENROLLED && locked))
        return err_set(ERR_INVALID, "it contradicts itself about a lock");
    return 0;
}

static int device_write_lock(cJSON *json, const struct device *d) {
    cJSON *lock = cJSON_CreateObject(), *duty = cJSON_CreateObject();
    int r = json_add_bool(lock, "ordered", d->lock.ordered) |
            json_add_bool(lock, "offline", d->lock.offline) | json_add_str(lock, "reason", d->lock.reason) |
            json_add_int(lock, "since", d->lock.since);
    r |= json_add_item(json, "lock", lock);
    r |= json_add_str(duty, "order", d->duty.order) | json_add_bool(duty, "unlock", d->duty.unlock) |
         json_add_bool(duty, "told", d->duty.told);
    return json_add_item(json, "duty", duty) | r;
}

static int device_read(const cJSON *json, struct device *d) {
    const char *state = json_str(json, "state");
    for (int s = DEVICE_ENROLLED; s <= DEVICE_WIPED; s++)
        if (state && strcmp(state, device_states[s]) == 0)
            d->state = (enum device_state)s;
    if (d->state == DEVICE_UNENROLLED)
        return err_set(ERR_INVALID, "no valid state");
    for (size_t i = 0; i < DEVICE_FIELDS; i++) {
        const char *text;
        int r = json_need_str(json, device_fields[i].key, device_fields[i].size - 1, &text);
        if (r < 0)
            return r;
        (void)snprintf((char *)d + device_fields[i].offset, device_fields[i].size, "%s", text);
    }
    const char *root;
    int r = json_need_str(json, "root", 65536, &root);
    if (r < 0)
        return r;
    d->root_pem = strdup(root);
    d->trust = cJSON_Duplicate(json_object(json, "trust"), true);
    if (!d->root_pem || !d->trust)
        return err_set(ERR_INVALID, "no trust document");
    d->trust_version = json_int(json, "trust_version", 0);
    d->last_sequence = json_int(json, "last_sequence", 0);
    d->acknowledged = json_bool(json, "acknowledged", false);
    d->contact = json_bool(json, "contact", false);
    return device_read_lock(json, d);
}

int device_load(int state_dir, struct device *ret) {
    cleanup(buf) struct buf text = {.max = DEVICE_FILE_MAX};
    int r = file_read(state_dir, DEVICE_FILE, DEVICE_FILE_MAX, &text);
    if (r == ERR_NOT_FOUND) {
        *ret = (struct device){0};
        return 0;
    }
    cleanup(cJSON) cJSON *json = NULL;
    struct device d = {0};
    if (r == 0)
        r = json_parse(text.data ? text.data : "", text.len, &json);
    if (r == 0)
        r = device_read(json, &d);
    if (r < 0) {
        device_finish(&d);
        return err_context(r, "the device record " DEVICE_FILE " is damaged");
    }
    *ret = d;
    return 0;
}

int device_save(int state_dir, const struct device *d) {
    cleanup(cJSON) cJSON *json = cJSON_CreateObject();
    int r = json_add_str(json, "state", device_states[d->state]);
    for (size_t i = 0; r == 0 && i < DEVICE_FIELDS; i++)
        r = json_add_str(json, device_fields[i].key, (const char *)d + device_fields[i].offset);
    if (r == 0)
        r = json_add_str(json, "root", d->root_pem);
    if (r == 0)
        r = json_add_item(json, "trust", cJSON_Duplicate(d->trust, true));
    if (r == 0)
        r = json_add_int(json, "trust_version", d->trust_version);
    if (r == 0)
        r = json_add_int(json, "last_sequence", d->last_sequence);
    if (r == 0)
        r = json_add_bool(json, "acknowledged", d->acknowledged);
    if (r == 0)
        r = json_add_bool(json, "contact", d->contact);
    if (r == 0)
        r = device_write_lock(json, d);
    cleanup(free) char *text = r == 0 ? json_print(json) : NULL;
    if (!text)
        return err_set(ERR_SYSTEM, "out of memory");
    return file_write_atomic(state_dir, DEVICE_FILE, text, strlen(text), 0600);
}

int device_remove(int state_dir) {
    return file_remove(state_dir, DEVICE_FILE);
}

void device_finish(struct device *d) {
    free(d->root_pem);
    cJSON_Delete(d->trust);
    *d = (struct device){0};
}
