#include "agent/control/method.h"
#include "agent/control/control.h"
#include "agent/state/activity.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/base/frame.h"
#include "platform/base/json.h"
#include "platform/linux/sandbox.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#define METHOD_PROFILE_MS 15000 /* for the first profile after an enrollment */
#define METHOD_MAIL_MS 20000    /* for a mail child that is being restarted */
#define METHOD_SEND_MS 5000
#define METHOD_PROGRESS_MS 100 /* between two notifications */
#define METHOD_ACTIVITY_MAX 10000

typedef int method_function(struct control *c, int fd, const cJSON *params, cJSON **ret_result);

static bool method_hung_up(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};
    return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

/* What the kernel keeps the mail process from; `satchel doctor` says more. */
static int method_add_protection(cJSON *status) {
    struct sandbox_state s;
    sandbox_look(&s);
    cJSON *protection = cJSON_CreateObject();
    int r = json_add_bool(protection, "files", s.files) | json_add_bool(protection, "ports", s.ports) |
            json_add_bool(protection, "processes", s.outside) | json_add_bool(protection, "calls", s.calls);
    return r | json_add_item(status, "protection", protection);
}

static int method_status(struct control *c, int fd, const cJSON *params, cJSON **ret_result) {
    (void)fd;
    (void)params;
    worker_look(c->worker);
    struct board_view v;
    (void)board_get(c->board, &v);
    cleanup(cJSON) cJSON *status = board_json(&v);
    cJSON *agent = cJSON_CreateObject();
    int r = json_add_bool(agent, "running", true) | json_add_int(agent, "pid", getpid()) |
            json_add_str(agent, "version", SATCHEL_VERSION);
    r |= json_add_item(status, "agent", agent) | method_add_protection(status);
    if (!status || r < 0)
        return err_set(ERR_SYSTEM, "out of memory");
    *ret_result = steal(status);
    return 0;
}

/* Waits for the profile that the server has for a new device. Without one the device is enrolled all the
 * same. */
static void method_wait_for_profile(struct control *c, struct board_view *v) {
    int64_t deadline = clock_boot_ms() + METHOD_PROFILE_MS;
    for (;;) {
        uint64_t seen = board_get(c->board, v);
        if (v->profile_version || v->problem[0] || v->state != DEVICE_ENROLLED || v->state_taken)
            return;
        if (board_wait(c->board, seen, deadline) < 0)
            return;
    }
}

static int method_enroll(struct control *c, int fd, const cJSON *params, cJSON **ret_result) {
    (void)fd;
    const char *link = json_str(params, "link");
    int r = worker_enroll(c->worker, link ? link : "");
    if (r < 0)
        return r;
    struct board_view v;
    method_wait_for_profile(c, &v);
    return method_status(c, fd, params, ret_result);
}

static int method_credential(struct control *c, int fd, const cJSON *params, cJSON **ret_result) {
    const char *password = json_str(params, "password");
    struct board_view v;
    if (!password || !*password)
        return err_set(ERR_AUTH, "the password is empty");
    method_wait_for_profile(c, &v);
    int r = worker_credential(c->worker, password);
    return r < 0 ? r : method_status(c, fd, params, ret_result);
}

static int method_progress(int fd, const struct progress *progress) {
    cleanup(cJSON) cJSON *note = cJSON_CreateObject();
    int r = json_add_str(note, "jsonrpc", "2.0") | json_add_str(note, "method", "progress") |
            json_add_item(note, "params", progress_json(progress, clock_boot_ms()));
    return r < 0 ? r : frame_send(fd, note, clock_boot_ms() + METHOD_SEND_MS);
}

/* Asks the mail child for a full pass, which may first have to be there. */
static int method_ask_sync(struct control *c, bool confirm_deletions, int64_t *ret_id) {
    int64_t deadline = clock_boot_ms() + METHOD_MAIL_MS;
    for (;;) {
        struct board_view v;
        uint64_t seen = board_get(c->board, &v);
        int r = child_sync(c->child, confirm_deletions, ret_id);
        if (r == 0 || v.state != DEVICE_ENROLLED || !v.credential || !v.profile_version)
            return r;
        if (board_wait(c->board, seen, deadline) < 0)
            return r;
    }
}

/* How a full pass ended. Deletions that are held back are nobody's failure: a person is asked. */
static int method_synced(const struct board_view *v) {
    if (v->synced_ok)
        return 0;
    return err_set(v->asks > 0 ? ERR_WRONG_STATE : ERR_UNREACHABLE, "%s",
                   v->synced_text[0] ? v->synced_text : v->mail_text);
}

static int method_wait_sync(struct control *c, int fd, int64_t id, struct board_view *v) {
    int64_t said = 0;
    uint64_t told = v->progress.running ? 0 : v->progress.updates;
    for (;;) {
        uint64_t seen = board_get(c->board, v);
        if (v->synced_id >= id)
            return method_synced(v);
        if (!v->mail_running)
            return err_set(ERR_UNREACHABLE,
                           "the mail process ended; it is being started again. Try again in a moment");
        if (method_hung_up(fd))
            return err_set(ERR_CANCELED, "canceled");
        const struct progress *p = &v->progress;
        if (p->updates != told && (!p->running || clock_boot_ms() - said >= METHOD_PROGRESS_MS)) {
            said = clock_boot_ms();
            told = p->updates;
            int r = method_progress(fd, p);
            if (r < 0)
                return r;
        }
        (void)board_wait(c->board, seen, clock_boot_ms() + 500);
    }
}

static int method_sync(struct control *c, int fd, const cJSON *params, cJSON **ret_result) {
    struct board_view v;
    (void)board_get(c->board, &v);
    if (v.state == DEVICE_UNENROLLED)
        return err_set(ERR_WRONG_STATE, "this device is not enrolled; use `satchel enroll LINK`");
    if (v.state == DEVICE_LOCKED)
        return err_set(ERR_WRONG_STATE, "this device is locked; `satchel status` says why");
    int64_t id;
    int r = method_ask_sync(c, json_bool(params, "confirm_deletions", false), &id);
    if (r == 0 && json_bool(params, "wait", false))
        r = method_wait_sync(c, fd, id, &v);
    if (r < 0)
        return r;
    (void)board_get(c->board, &v);
    cleanup(cJSON) cJSON *result = cJSON_CreateObject();
    r = json_add_bool(result, "done", v.synced_id >= id) | json_add_int(result, "folders", v.folders) |
        json_add_int(result, "messages", v.messages) | json_add_int(result, "pending", v.pending);
    if (r == 0)
        *ret_result = steal(result);
    return r;
}

static int method_activity(struct control *c, int fd, const cJSON *params, cJSON **ret_result) {
    (void)fd;
    int64_t most = json_int(params, "most", METHOD_ACTIVITY_MAX);
    most = most < 1 ? 1 : most > METHOD_ACTIVITY_MAX ? METHOD_ACTIVITY_MAX : most;
    return activity_list(c->state_dir, (int)most, ret_result);
}

static int method_leave(struct control *c, int fd, const cJSON *params, cJSON **ret_result) {
    int r = worker_leave(c->worker);
    return r < 0 ? r : method_status(c, fd, params, ret_result);
}

int method_call(struct control *c, int fd, const char *name, const cJSON *params, cJSON **ret_result) {
    static const struct {
        const char *name;
        method_function *function;
    } methods[] = {
        {"status", method_status}, {"enroll", method_enroll},     {"credential", method_credential},
        {"sync", method_sync},     {"activity", method_activity}, {"leave", method_leave},
    };
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (strcmp(methods[i].name, name) == 0)
            return methods[i].function(c, fd, params, ret_result);
    return err_set(ERR_INVALID, "the method \"%.60s\" does not exist", name);
}
