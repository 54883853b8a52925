#include "agent/state/board.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/base/json.h"
#include "platform/base/wait.h"

#include <stdio.h>
#include <string.h>

int board_init(struct board *b) {
    *b = (struct board){.notify = -1, .view = {.offline_lock_left = -1, .offline_wipe_left = -1}};
    return wait_init(&b->lock, &b->changed);
}

struct board_view *board_begin(struct board *b) {
    (void)pthread_mutex_lock(&b->lock);
    return &b->view;
}

void board_end(struct board *b) {
    b->generation++;
    (void)pthread_cond_broadcast(&b->changed);
    (void)pthread_mutex_unlock(&b->lock);
    if (b->notify >= 0)
        (void)!write(b->notify, &(uint64_t){1}, sizeof(uint64_t));
}

uint64_t board_get(struct board *b, struct board_view *ret) {
    (void)pthread_mutex_lock(&b->lock);
    *ret = b->view;
    uint64_t generation = b->generation;
    (void)pthread_mutex_unlock(&b->lock);
    return generation;
}

int board_wait(struct board *b, uint64_t seen, int64_t deadline) {
    (void)pthread_mutex_lock(&b->lock);
    while (b->generation == seen && clock_left(deadline) != 0)
        wait_until(&b->changed, &b->lock, deadline);
    bool news = b->generation != seen;
    (void)pthread_mutex_unlock(&b->lock);
    return news ? 0 : err_set(ERR_TIMEOUT, "nothing changed in time");
}

static int board_add_time(cJSON *object, const char *key, int64_t real_ms) {
    char text[CLOCK_RFC3339_SIZE];
    return json_add_str(object, key, real_ms ? clock_rfc3339(real_ms, text) : NULL);
}

static int board_add_text(cJSON *object, const char *key, const char *text) {
    return text[0] ? json_add_str(object, key, text) : 0;
}

static cJSON *board_profile(const struct board_view *v) {
    if (!v->profile_version)
        return cJSON_CreateNull();
    cJSON *o = cJSON_CreateObject();
    (void)(json_add_str(o, "id", v->profile_id) | json_add_int(o, "version", v->profile_version));
    return o;
}

static cJSON *board_server(const struct board_view *v) {
    cJSON *o = cJSON_CreateObject();
    (void)(json_add_str(o, "url", v->server) | json_add_bool(o, "connected", v->connected) |
           board_add_time(o, "last_contact", v->last_contact));
    if (!v->connected)
        (void)(board_add_time(o, "disconnected_since", v->disconnected_since) |
               board_add_text(o, "text", v->server_text));
    return o;
}

static cJSON *board_account(const struct board_view *v) {
    cJSON *o = cJSON_CreateObject();
    const char *imap = v->imap[0] ? v->imap : v->credential ? "connecting" : "no-credential";
    (void)(json_add_str(o, "address", v->address) | json_add_str(o, "imap", imap) |
           json_add_str(o, "push", v->push[0] ? v->push : NULL) | json_add_int(o, "folders", v->folders) |
           json_add_int(o, "messages", v->messages) | json_add_int(o, "pending", v->pending) |
           json_add_int(o, "asks", v->asks) |
           json_add_str(o, "last_sync", v->last_sync[0] ? v->last_sync : NULL) |
           board_add_text(o, "text", v->mail_text));
    (void)json_add_item(o, "progress",
                        v->progress.running ? progress_json(&v->progress, clock_boot_ms())
                                            : cJSON_CreateNull());
    return o;
}

static cJSON *board_vault(const struct board_view *v) {
    cJSON *o = cJSON_CreateObject();
    (void)(json_add_str(o, "driver", v->vault_driver) | json_add_bool(o, "open", v->vault_open) |
           json_add_str(o, "path", v->vault_path) | json_add_int(o, "bytes", v->vault_bytes));
    return o;
}

static cJSON *board_clients(const struct board_view *v) {
    cJSON *list = cJSON_CreateArray();
    for (const char *p = v->clients; *p;) {
        char id[32];
        size_t n = strcspn(p, " ");
        (void)snprintf(id, sizeof id, "%.*s", (int)n, p);
        cJSON *o = cJSON_CreateObject();
        (void)(json_add_str(o, "id", id) | json_add_bool(o, "configured", false));
        if (!cJSON_AddItemToArray(list, o))
            cJSON_Delete(o);
        p += n + (p[n] == ' ');
    }
    return list;
}

static int board_add_left(cJSON *object, const char *key, int64_t ms) {
    return ms < 0 ? json_add_str(object, key, NULL) : json_add_int(object, key, ms / 1000);
}

/* What becomes of the mail here when there is no contact. */
static cJSON *board_offline(const struct board_view *v) {
    cJSON *o = cJSON_CreateObject();
    (void)(board_add_left(o, "lock_in_seconds", v->offline_lock_left) |
           board_add_left(o, "wipe_in_seconds", v->offline_wipe_left));
    return o;
}

/* What a person needs to know of a lock: by whom, since when, why, and what ends it. */
static cJSON *board_lock(const struct board_view *v) {
    cJSON *o = cJSON_CreateObject();
    char text[BOARD_TEXT + ORDER_REASON_MAX];
    if (v->lock_ordered)
        board_text(
            text,
            "%s locked this device: %s. The mail stays here, encrypted, and cannot be read until %s unlocks "
            "it",
            v->organization, v->lock_reason[0] ? v->lock_reason : "no reason was given", v->organization);
    else
        board_text(
            text,
            "this device was without contact to %s for too long. The mail stays here, encrypted; it opens "
            "again once the management server is reached",
            v->organization);
    (void)(json_add_str(o, "cause", v->lock_ordered ? "order" : "offline") |
           json_add_str(o, "reason", v->lock_ordered ? v->lock_reason : NULL) |
           board_add_time(o, "since", v->lock_since) | json_add_str(o, "text", text));
    return o;
}

cJSON *board_json(const struct board_view *v) {
    cleanup(cJSON) cJSON *o = cJSON_CreateObject();
    cJSON *keyring = cJSON_CreateObject();
    int r = json_add_str(o, "state", device_state_name(v->state));
    if (v->state != DEVICE_UNENROLLED)
        r |= json_add_str(o, "organization", v->organization) | json_add_str(o, "device", v->device) |
             json_add_item(o, "profile", board_profile(v)) | json_add_item(o, "server", board_server(v)) |
             json_add_item(o, "account", board_account(v)) | json_add_item(o, "clients", board_clients(v));
    if (v->state == DEVICE_ENROLLED || v->state == DEVICE_LOCKED)
        r |= json_add_item(o, "offline", board_offline(v));
    r |= json_add_item(o, "vault", board_vault(v));
    r |= json_add_bool(keyring, "available", v->keyring_available) |
         json_add_bool(keyring, "locked", v->keyring_locked) | json_add_item(o, "keyring", keyring);
    if (v->problem[0]) {
        cJSON *problem = cJSON_CreateObject();
        r |= json_add_int(problem, "version", v->problem_version) |
             json_add_str(problem, "text", v->problem) | json_add_item(o, "profile_problem", problem);
    }
    if (v->lock_ordered || v->lock_offline)
        r |= json_add_item(o, "lock", board_lock(v));
    if (v->wipe_text[0]) {
        cJSON *wipe = cJSON_CreateObject();
        r |= json_add_str(wipe, "order", v->wipe_order[0] ? v->wipe_order : NULL) |
             json_add_str(wipe, "text", v->wipe_text) | json_add_item(o, "wipe", wipe);
    }
    r |= board_add_text(o, "problem", v->work);
    return r < 0 ? NULL : steal(o);
}
