#include "agent/mail/sync/report.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/base/frame.h"

#include <stdlib.h>
#include <string.h>

#define GAP_MS 200
#define SEND_MS 10000

void report_init(struct report *r, int fd) {
    *r = (struct report){.fd = fd, .imap = "connecting", .push = "poll"};
    (void)pthread_mutex_init(&r->lock, NULL);
}

void report_finish(struct report *r) {
    free(r->sent);
    (void)pthread_mutex_destroy(&r->lock);
}

static void report_send(struct report *r, const cJSON *json) {
    (void)pthread_mutex_lock(&r->lock);
    (void)frame_send(r->fd, json, clock_boot_ms() + SEND_MS);
    (void)pthread_mutex_unlock(&r->lock);
}

static cJSON *report_status_json(const struct report *r) {
    cJSON *json = cJSON_CreateObject();
    char when[CLOCK_RFC3339_SIZE];
    if (!json)
        return NULL;
    if (json_add_str(json, "event", "status") == 0 && json_add_str(json, "imap", r->imap) == 0 &&
        json_add_str(json, "push", r->push) == 0 && json_add_int(json, "folders", r->folders) == 0 &&
        json_add_int(json, "messages", r->messages) == 0 && json_add_int(json, "pending", r->pending) == 0 &&
        json_add_int(json, "asks", r->asks) == 0 &&
        json_add_str(json, "last_sync", r->last_sync ? clock_rfc3339(r->last_sync, when) : NULL) == 0 &&
        json_add_str(json, "text", r->text) == 0 && json_add_int(json, "retry_ms", r->retry_ms) == 0)
        return json;
    cJSON_Delete(json);
    return NULL;
}

void report_flush(struct report *r) {
    cleanup(cJSON) cJSON *json = report_status_json(r);
    cleanup(free) char *text = json ? json_print(json) : NULL;
    if (!text || (r->sent && strcmp(r->sent, text) == 0))
        return;
    report_send(r, json);
    free(r->sent);
    r->sent = steal(text);
    r->status_at = clock_boot_ms();
}

void report_status(struct report *r) {
    if (clock_boot_ms() - r->status_at >= GAP_MS)
        report_flush(r);
}

void report_progress(struct report *r, const char *folder, int64_t done, int64_t total, int64_t bytes,
                     int64_t bytes_total) {
    int64_t now = clock_boot_ms();
    if (now - r->progress_at < GAP_MS && done < total)
        return;
    r->progress_at = now;
    cleanup(cJSON) cJSON *json = cJSON_CreateObject();
    if (json && json_add_str(json, "event", "progress") == 0 && json_add_str(json, "folder", folder) == 0 &&
        json_add_int(json, "done", done) == 0 &&
        json_add_int(json, "total", total < done ? done : total) == 0 &&
        json_add_int(json, "bytes", bytes) == 0 && json_add_int(json, "bytes_total", bytes_total) == 0)
        report_send(r, json);
}

void report_tried(struct report *r, const char *imap, const char *text) {
    cleanup(cJSON) cJSON *json = cJSON_CreateObject();
    if (json && json_add_str(json, "event", "tried") == 0 && json_add_str(json, "imap", imap) == 0 &&
        json_add_str(json, "text", text) == 0)
        report_send(r, json);
}

void report_synced(struct report *r, int64_t id, bool ok, const char *text) {
    cleanup(cJSON) cJSON *json = cJSON_CreateObject();
    if (json && json_add_str(json, "event", "synced") == 0 && json_add_int(json, "id", id) == 0 &&
        json_add_bool(json, "ok", ok) == 0 && json_add_str(json, "text", text) == 0)
        report_send(r, json);
}

const char *report_imap_word(int code) {
    switch (code) {
    case 0:
        return "ok";
    case ERR_AUTH:
        return "auth-failed";
    case ERR_TLS:
        return "tls-failed";
    case ERR_PROTOCOL:
    case ERR_TOO_LARGE:
        return "protocol-error";
    case ERR_WRONG_STATE:
        return "vault-closed";
    default:
        return "unreachable";
    }
}
