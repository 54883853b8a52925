#include "agent/channel/listen.h"
#include "agent/channel/channel.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/base/json.h"
#include "platform/base/log.h"
#include "server-api/contract/stamp.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#define LISTEN_WAIT_S 240     /* of one long poll, at most */
#define LISTEN_FIRST_MS 30000 /* for an answer that is not parked */
#define LISTEN_GRACE_MS 20000 /* beyond the wait that was asked for */

struct listen_connection {
    struct https *client; /* owned, NULL without an identity */
    uint64_t generation;
    char tag[200]; /* of the state that the worker has; empty: none */
    unsigned failures;
};

/* Waits for a change of identity, a stop, or `ms`. */
static void listen_pause(struct channel *c, int64_t ms) {
    struct pollfd p = {.fd = c->listen_wake, .events = POLLIN};
    (void)poll(&p, 1, ms < 0 ? -1 : (int)ms);
    uint64_t count;
    (void)!read(c->listen_wake, &count, sizeof count);
}

static void listen_tell(struct channel *c, bool connected, const char *text) {
    int64_t now = clock_real_ms();
    struct board_view *v = board_begin(c->board);
    if (!connected && (v->connected || !v->disconnected_since))
        v->disconnected_since = now;
    if (connected && !v->connected)
        (void)!write(c->deliver_retry, &(uint64_t){1}, sizeof(uint64_t));
    if (connected != v->connected)
        log_info(connected ? "connected to the management server"
                           : "the management server is not reachable: %s",
                 text);
    v->connected = connected;
    if (connected)
        v->last_contact = now;
    board_text(v->server_text, "%s", text);
    board_end(c->board);
}

static int listen_check_in_seconds(struct channel *c) {
    struct board_view v;
    (void)board_get(c->board, &v);
    return v.check_in_seconds > 0 && v.check_in_seconds < LISTEN_WAIT_S ? (int)v.check_in_seconds
                                                                        : LISTEN_WAIT_S;
}

/* Takes over the document. A server that does not tell the time has nothing to hand on where nothing changed.
 */
static int listen_hand_on(struct channel *c, cJSON *document, const char *stamp) {
    cJSON_DeleteItemFromObjectCaseSensitive(document, CHANNEL_STAMP);
    if (stamp[0] && json_add_str(document, CHANNEL_STAMP, stamp) < 0)
        log_warning("out of memory, ignoring");
    if (document && document->child)
        c->state(c->userdata, document);
    else
        cJSON_Delete(document);
    return 0;
}

/* One poll. 0 also when nothing was new. */
static int listen_once(struct channel *c, struct listen_connection *l) {
    char path[300];
    int wait = l->tag[0] ? listen_check_in_seconds(c) : 0;
    (void)snprintf(path, sizeof path, "/v1/device/state?have=%s&wait=%d", l->tag, wait);
    char stamp[STAMP_MAX + 1] = "";
    cleanup(cJSON) cJSON *body = NULL;
    int status = 0;
    int64_t patience = wait ? (int64_t)wait * 1000 + LISTEN_GRACE_MS : LISTEN_FIRST_MS;
    int r = https_perform(l->client,
                          &(struct https_request){.method = "GET",
                                                  .path = path,
                                                  .deadline = clock_boot_ms() + patience,
                                                  .cancel = c->listen_wake,
                                                  .header = STAMP_HEADER,
                                                  .ret_header = stamp,
                                                  .header_size = sizeof stamp},
                          &status, &body);
    if (r < 0)
        return r;
    if (status == 304) {
        listen_tell(c, true, "");
        body = cJSON_CreateObject();
        return listen_hand_on(c, steal(body), stamp);
    }
    if (status != 200 || !body) {
        char text[300];
        https_problem(status, body, text, sizeof text);
        return err_set(status == 401 || status == 403 ? ERR_REFUSED : ERR_UNREACHABLE, "%s", text);
    }
    const char *tag = json_str(body, "tag");
    if (!tag || strlen(tag) >= sizeof l->tag ||
        tag[strspn(tag, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")])
        return err_set(ERR_PROTOCOL, "the server's state has no usable tag");
    board_text(l->tag, "%s", tag);
    listen_tell(c, true, "");
    return listen_hand_on(c, steal(body), stamp);
}

static void listen_connect(struct channel *c, struct listen_connection *l) {
    if (l->client && l->generation == identity_generation(c->identity))
        return;
    l->client = https_free(l->client);
    l->tag[0] = '\0';
    l->failures = 0;
    if (identity_client(c->identity, &l->client, &l->generation) < 0)
        log_warning("cannot connect to the management server: %s", err_text());
}

void *listen_run(void *channel) {
    struct channel *c = channel;
    struct listen_connection l = {0};
    while (!atomic_load(&c->stopping)) {
        listen_connect(c, &l);
        if (!l.client) {
            listen_pause(c, -1);
            continue;
        }
        int r = listen_once(c, &l);
        if (r == 0) {
            l.failures = 0;
        } else if (r == ERR_CANCELED) {
            listen_pause(c, 0);
        } else {
            listen_tell(c, false, err_text());
            l.tag[0] = '\0'; /* whoever answers next may know another state */
            listen_pause(c, channel_backoff(++l.failures));
        }
    }
    l.client = https_free(l.client);
    return NULL;
}
