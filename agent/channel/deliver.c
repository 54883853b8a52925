#include "agent/channel/deliver.h"
#include "agent/channel/channel.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/base/json.h"
#include "platform/base/log.h"
#include "server-api/contract/report.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#define DELIVER_TIMEOUT_MS 30000

struct deliver_connection {
    struct https *client; /* owned, NULL without an identity */
    uint64_t generation;
    char *reported; /* owned: the last report that arrived, without word of orders */
    unsigned failures;
};

static void deliver_drain(int fd) {
    uint64_t count;
    (void)!read(fd, &count, sizeof count);
}

/* Waits for news; after a failure not for news, which would only fail too, but for `ms` or the connection's
 * return. */
static void deliver_pause(struct channel *c, bool failed, int64_t ms) {
    struct pollfd p[2] = {{.fd = failed ? c->deliver_retry : c->deliver_wake, .events = POLLIN},
                          {.fd = c->stop_fd, .events = POLLIN}};
    (void)poll(p, 2, failed ? (int)ms : -1);
    deliver_drain(c->deliver_retry);
    deliver_drain(c->deliver_wake);
}

static cJSON *deliver_os(void) {
    struct utsname name;
    char os[200] = "Linux";
    if (uname(&name) == 0)
        board_text(os, "%.60s %.60s", name.sysname, name.release);
    return cJSON_CreateString(os);
}

/* NULL: there is nothing to tell. */
static cJSON *deliver_field(const struct board_view *v, enum report_field field) {
    switch (field) {
    case REPORT_AGENT_VERSION:
        return cJSON_CreateString(SATCHEL_VERSION);
    case REPORT_OS:
        return deliver_os();
    case REPORT_STATE:
        return cJSON_CreateString(device_state_name(v->state));
    case REPORT_PROFILE_ID:
        return v->profile_version ? cJSON_CreateString(v->profile_id) : NULL;
    case REPORT_PROFILE_VERSION:
        return v->profile_version ? cJSON_CreateNumber((double)v->profile_version) : NULL;
    case REPORT_PROBLEM_VERSION:
        return v->problem[0] ? cJSON_CreateNumber((double)v->problem_version) : NULL;
    case REPORT_PROBLEM_TEXT:
        return v->problem[0] ? cJSON_CreateString(v->problem) : NULL;
    case REPORT_ACCOUNT_IMAP:
        return cJSON_CreateString(v->imap[0] ? v->imap : v->credential ? "connecting" : "no-credential");
    case REPORT_VAULT_DRIVER:
        return cJSON_CreateString(v->vault_driver);
    case REPORT_VAULT_OPEN:
        return cJSON_CreateBool(v->vault_open);
    case REPORT_KEYRING_AVAILABLE:
        return cJSON_CreateBool(v->keyring_available);
    case REPORT_KEYRING_LOCKED:
        return cJSON_CreateBool(v->keyring_locked);
    case REPORT_FIELDS:
        break;
    }
    return NULL;
}

/* What the company may know is the table of server-api/contract/report.h, and nothing of the mail. */
static cJSON *deliver_report(const struct board_view *v) {
    cleanup(cJSON) cJSON *report = cJSON_CreateObject();
    int r = report ? 0 : ERR_SYSTEM;
    for (int i = 0; r == 0 && i < REPORT_FIELDS; i++)
        r = report_set(report, (enum report_field)i, deliver_field(v, (enum report_field)i));
    return r < 0 ? NULL : steal(report);
}

/* `ret_answer` may be NULL. */
static int deliver_post(struct channel *c, struct deliver_connection *d, const char *path, const cJSON *body,
                        cJSON **ret_answer) {
    cleanup(cJSON) cJSON *answer = NULL;
    int status = 0;
    /* Not canceled by the eventfd: it is written at every change, and a request under way is to arrive. */
    int r = https_perform(d->client,
                          &(struct https_request){.method = "POST",
                                                  .path = path,
                                                  .body = body,
                                                  .deadline = clock_boot_ms() + DELIVER_TIMEOUT_MS,
                                                  .cancel = c->stop_fd},
                          &status, &answer);
    if (r < 0)
        return r;
    if (status >= 200 && status < 300) {
        if (ret_answer)
            *ret_answer = steal(answer);
        return 0;
    }
    char text[300];
    https_problem(status, answer, text, sizeof text);
    return err_set(status >= 500 || status == 429 ? ERR_UNREACHABLE : ERR_REFUSED, "%s: %s", path, text);
}

/* Sends the report when it says something new or orders are to be told. Takes over `orders`. */
static int deliver_send_report(struct channel *c, struct deliver_connection *d, cJSON *orders) {
    struct board_view v;
    (void)board_get(c->board, &v);
    cleanup(cJSON) cJSON *report = deliver_report(&v);
    cleanup(free) char *text = report ? json_print(report) : NULL;
    int r = text ? 0 : err_set(ERR_SYSTEM, "out of memory");
    bool news = orders->child || !d->reported || !text || strcmp(d->reported, text) != 0;
    /* While it is wiped a device has nothing to tell but of its orders, and the server takes nothing else. */
    bool mute = v.state == DEVICE_UNENROLLED ||
                ((v.state == DEVICE_WIPING || v.state == DEVICE_WIPED) && !orders->child);
    if (r < 0 || !news || mute) {
        outbox_return(c->outbox, orders);
        return r;
    }
    /* The report borrows the orders, so that they can go back to the outbox when it does not arrive. */
    (void)cJSON_AddItemReferenceToObject(report, "orders", orders);
    r = deliver_post(c, d, "/v1/device/report", report, NULL);
    if (r == ERR_UNREACHABLE || r == ERR_TIMEOUT || r == ERR_CANCELED) {
        outbox_return(c->outbox, orders);
        return r;
    }
    cJSON_Delete(orders);
    if (r < 0)
        log_warning("the server does not take the report: %s, ignoring", err_text());
    free(d->reported);
    d->reported = steal(text);
    return 0;
}

/* Takes over the receipt's document. */
static int deliver_send_receipt(struct channel *c, struct deliver_connection *d,
                                const struct outbox_receipt *receipt) {
    cleanup(cJSON) cJSON *body = cJSON_CreateObject();
    int r = json_add_item(body, "receipt", receipt->jws);
    if (r == 0)
        r = deliver_post(c, d, "/v1/device/receipts", body, NULL);
    if (r < 0)
        return r;
    log_info("the server has the receipt");
    outbox_delivered(c->outbox, receipt->number);
    c->acknowledged(c->userdata, receipt->order, receipt->last);
    return 0;
}

/* Asks for a further certificate. What the server refuses is asked again later, when the worker says so. */
static int deliver_send_csr(struct channel *c, struct deliver_connection *d, const char *csr) {
    cleanup(cJSON) cJSON *body = cJSON_CreateObject(), *answer = NULL;
    int r = json_add_str(body, "csr", csr);
    if (r == 0)
        r = deliver_post(c, d, "/v1/device/certificate", body, &answer);
    if (r == ERR_UNREACHABLE || r == ERR_TIMEOUT || r == ERR_CANCELED)
        return r;
    const char *pem = r == 0 ? json_str(answer, "certificate") : NULL;
    if (!pem)
        log_warning("the server gives no further certificate: %s", r < 0 ? err_text() : "an empty answer");
    outbox_csr(c->outbox, NULL);
    c->certificate(c->userdata, pem);
    return 0;
}

static int deliver_once(struct channel *c, struct deliver_connection *d) {
    cJSON *orders;
    struct outbox_receipt receipt;
    int r = outbox_take(c->outbox, &orders, &receipt);
    if (r < 0)
        return r;
    r = deliver_send_report(c, d, orders);
    if (r == 0 && receipt.jws)
        r = deliver_send_receipt(c, d, &receipt);
    else
        cJSON_Delete(receipt.jws);
    cleanup(free) char *csr = r == 0 ? outbox_get_csr(c->outbox) : NULL;
    return csr ? deliver_send_csr(c, d, csr) : r;
}

static void deliver_connect(struct channel *c, struct deliver_connection *d) {
    if (d->client && d->generation == identity_generation(c->identity))
        return;
    d->client = https_free(d->client);
    free(d->reported);
    d->reported = NULL;
    d->failures = 0;
    if (identity_client(c->identity, &d->client, &d->generation) < 0)
        log_warning("cannot connect to the management server: %s", err_text());
}

void *deliver_run(void *channel) {
    struct channel *c = channel;
    struct deliver_connection d = {0};
    while (!atomic_load(&c->stopping)) {
        deliver_connect(c, &d);
        int r = d.client ? deliver_once(c, &d) : 0;
        d.failures = r < 0 ? d.failures + 1 : 0;
        if (r < 0)
            log_debug("delivery: %s, trying again", err_text());
        deliver_pause(c, r < 0, channel_backoff(d.failures));
    }
    d.client = https_free(d.client);
    free(d.reported);
    return NULL;
}
