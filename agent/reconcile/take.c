/* Taking in the server's state document: the trust, the orders, the profile. Each part is verified by itself.
 */
#include "agent/channel/channel.h"
#include "agent/profile/accept.h"
#include "agent/reconcile/agent.h"
#include "agent/state/activity.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/base/json.h"
#include "platform/base/log.h"
#include "server-api/contract/cert.h"
#include "server-api/contract/profile.h"

#include <stdio.h>
#include <string.h>

/* A newer trust document by the pinned root key replaces the one we have; an older one is ignored. */
static int take_trust(struct agent *a, const cJSON *jws) {
    cleanup(X509) X509 *root = cert_from_pem(a->device.root_pem, strlen(a->device.root_pem));
    cleanup(trust) struct trust trust = {0};
    if (!root)
        return ERR_INVALID;
    int r = trust_open(jws, X509_get0_pubkey(root), &trust);
    if (r < 0 || trust.version <= a->device.trust_version)
        return r;
    cJSON *copy = cJSON_Duplicate(jws, true);
    if (!copy)
        return err_set(ERR_SYSTEM, "out of memory");
    cJSON_Delete(a->device.trust);
    a->device.trust = copy;
    a->device.trust_version = trust.version;
    r = device_save(a->state_dir, &a->device);
    if (r == 0)
        r = agent_open_trust(a);
    if (r == 0)
        activity_add(a->state_dir, "trust", "The organization's list of signing keys changed (version %lld).",
                     (long long)a->device.trust_version);
    return r;
}

/* The id that an order claims, without any proof: only to tell the server which one is refused. */
static void take_claimed_id(const cJSON *jws, char ret[ORDER_ID_MAX + 1]) {
    cleanup(cJSON) cJSON *claimed = NULL;
    const char *id = jws_peek(jws, &claimed) == 0 ? json_str(claimed, "id") : NULL;
    (void)snprintf(ret, ORDER_ID_MAX + 1, "%s", id && strlen(id) <= ORDER_ID_MAX ? id : "");
}

static agent_order_fn *const take_orders[ORDER_KINDS] = {
    [ORDER_WIPE] = agent_wipe, [ORDER_LOCK] = agent_lock_ordered, [ORDER_UNLOCK] = agent_unlock_ordered};

/* 1: it is the one that was taken last, which the server repeats until it has the receipt. */
static int take_check_order(const struct agent *a, const cJSON *jws, struct order *ret, cJSON **ret_payload) {
    cleanup(cJSON) cJSON *payload = NULL;
    struct order order = {0};
    int r = trust_verify(&a->trust, TRUST_ORDER, jws, &payload);
    if (r == 0)
        r = order_read(payload, &order);
    if (r < 0)
        return r;
    if (strcmp(order.device, a->device.id) != 0)
        return err_set(ERR_REFUSED, "the order is for another device");
    if (order.sequence == a->device.last_sequence && strcmp(order.id, a->device.duty.order) == 0)
        return 1;
    if (order.sequence <= a->device.last_sequence)
        return err_set(ERR_REFUSED, "the order is an old one: number %lld, and %lld was taken already",
                       (long long)order.sequence, (long long)a->device.last_sequence);
    *ret = order;
    *ret_payload = steal(payload);
    return 0;
}

static void take_refuse(struct agent *a, const cJSON *jws) {
    char id[ORDER_ID_MAX + 1], why[BOARD_TEXT];
    board_text(why, "%s", err_text());
    take_claimed_id(jws, id);
    log_warning("refused an order: %s", why);
    activity_add(a->state_dir, "refused", "An order was refused: %s.", why);
    if (id[0])
        outbox_order(a->outbox, id, "refused", why);
}

/* True when the order that is being carried out is this one: the server repeats it until it has the receipt.
 */
static bool take_is_under_way(struct agent *a, const cJSON *jws) {
    char id[ORDER_ID_MAX + 1];
    struct board_view v;
    take_claimed_id(jws, id);
    (void)board_get(a->board, &v);
    return id[0] && strcmp(id, v.wipe_order) == 0;
}

static void take_order(struct agent *a, const cJSON *jws) {
    struct order order = {0};
    cleanup(cJSON) cJSON *payload = NULL;
    if (a->device.state == DEVICE_WIPING || a->device.state == DEVICE_WIPED || take_is_under_way(a, jws))
        return;
    int r = take_check_order(a, jws, &order, &payload);
    if (r < 0)
        take_refuse(a, jws);
    if (r == 1 && a->device.duty.told) /* it has lost the receipt */
        a->device.duty.told = a->duty_out = false;
    if (r != 0)
        return;
    outbox_order(a->outbox, order.id, "delivered", "");
    take_orders[order.kind](a, &order, jws, payload);
}

static void take_profile_problem(struct agent *a, int64_t version) {
    char why[BOARD_TEXT];
    board_text(why, "%s", err_text());
    struct board_view *v = board_begin(a->board);
    bool again = v->problem_version == version && strcmp(v->problem, why) == 0;
    v->problem_version = version;
    board_text(v->problem, "%s", why);
    board_end(a->board);
    if (again)
        return;
    log_warning("refused profile version %lld: %s", (long long)version, why);
    activity_add(a->state_dir, "refused",
                 "Version %lld of the mail profile was refused, the old one stays: %s.", (long long)version,
                 why);
}

static void take_profile(struct agent *a, const cJSON *jws) {
    cJSON *profile = NULL;
    int64_t version;
    int r = accept_check(&a->trust, jws, a->profile, &profile, &version);
    if (r == 0)
        r = accept_store(a->state_dir, jws);
    if (r < 0) {
        take_profile_problem(a, version);
        cJSON_Delete(profile);
        return;
    }
    struct board_view *v = board_begin(a->board);
    v->problem_version = 0;
    v->problem[0] = '\0';
    board_end(a->board);
    if (r == 1)
        return;
    cJSON_Delete(a->profile);
    a->profile = profile;
    a->mail_current = false;
    a->mail_after = 0;
    a->mail_failures = 0;
    log_info("profile version %lld is in force", (long long)version);
    activity_add(a->state_dir, "profile", "Version %lld of the mail profile came into force (server %s).",
                 (long long)version, json_str(profile_incoming(profile), "host"));
}

void agent_take(struct agent *a, const cJSON *document) {
    if (a->device.state == DEVICE_UNENROLLED)
        return;
    const cJSON *trust = json_object(document, "trust"), *orders = json_array(document, "orders"),
                *profile = json_object(document, "profile"), *jws;
    const char *stamp = json_str(document, CHANNEL_STAMP);
    int64_t version = a->device.trust_version;
    if (trust && take_trust(a, trust) < 0)
        log_warning("the trust document was not taken: %s", err_text());
    cJSON_ArrayForEach(jws, orders) {
        take_order(a, jws);
    }
    if (stamp) /* after the orders: contact alone must not open what one of them closes */
        agent_contact(a, stamp, a->device.trust_version != version);
    if (profile && (a->device.state == DEVICE_ENROLLED || a->device.state == DEVICE_LOCKED))
        take_profile(a, profile);
    agent_show(a); /* before "state_taken", which others wait for */
    struct board_view *v = board_begin(a->board);
    v->state_taken = true;
    board_end(a->board);
}
