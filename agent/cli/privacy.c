/*
 * satchel privacy: what the company can see of this device, can do to it and cannot. What it sees and what it
 * can order is printed from the very tables that the code works with (server-api/contract/report.h, order.h,
 * receipt.h).
 */
#include "agent/cli/cli.h"
#include "platform/base/err.h"
#include "server-api/contract/order.h"
#include "server-api/contract/receipt.h"
#include "server-api/contract/report.h"

#include <stdio.h>

/* What comes of the connection itself and of orders, beside the report. */
static const char *const privacy_sees_more[] = {
    "when this device was last in contact with the management server, and from which address",
    "that an order arrived, or why it was refused",
    "the receipt of a wipe, lock or unlock: its steps, their times, and how much was removed",
    "what you do with your mail on its own mail server, as with any mail program",
};

static const char *const privacy_does_more[] = {
    "Change the settings of the mail account here, by a new version of the signed profile.",
    "Have its mail locked or removed after days without contact, by that profile. You are warned first.",
    "Close the enrollment or the mail account on its side: then nothing new comes here.",
};

static const char *const privacy_cannot[] = {
    "See, list, change or remove your own files. Satchel touches only what it made.",
    "See which programs you run, which sites you visit, what you type, or where you are.",
    "Run programs or commands here. Satchel never has the rights of an administrator.",
    "Get your mail password from here. It is in your keyring and goes to the mail server alone.",
    "Lock or remove anything without a signed order or profile, or without `satchel activity` telling.",
    "Keep you from leaving: `satchel leave` takes its mail off this device at any time.",
};

#define PRIVACY_COUNT(table) (sizeof(table) / sizeof *(table))

/* "profile.version"; the caller's. */
static void privacy_name(const struct report_member *m, char *ret, size_t size) {
    (void)snprintf(ret, size, "%s%s%s", m->object ? m->object : "", m->object ? "." : "", m->key);
}

static int privacy_add_members(cJSON *list, const struct report_member *members, int n, const char *when) {
    for (int i = 0; i < n; i++) {
        char name[64];
        privacy_name(&members[i], name, sizeof name);
        cJSON *item = cJSON_CreateObject();
        if (!cJSON_AddItemToArray(list, item)) {
            cJSON_Delete(item);
            return ERR_SYSTEM;
        }
        if (json_add_str(item, "field", name) < 0 || json_add_str(item, "when", when) < 0 ||
            json_add_str(item, "text", members[i].words) < 0)
            return ERR_SYSTEM;
    }
    return 0;
}

/* [{`key`: first, "text": second}] of names and words. */
static int privacy_add_pair(cJSON *list, const char *key, const char *name, const char *words) {
    cJSON *item = cJSON_CreateObject();
    if (!cJSON_AddItemToArray(list, item)) {
        cJSON_Delete(item);
        return ERR_SYSTEM;
    }
    return json_add_str(item, key, name) < 0 ? ERR_SYSTEM : json_add_str(item, "text", words);
}

static int privacy_json(cJSON **ret) {
    cleanup(cJSON) cJSON *json = cJSON_CreateObject();
    cJSON *sees = cJSON_CreateArray(), *orders = cJSON_CreateArray(), *looks = cJSON_CreateArray();
    int r = json_add_item(json, "sees", sees) | json_add_item(json, "orders", orders) |
            json_add_item(json, "receipt_checks", looks);
    r |= json_add_item(json, "sees_also",
                       cJSON_CreateStringArray(privacy_sees_more, PRIVACY_COUNT(privacy_sees_more)));
    r |= json_add_item(json, "does_also",
                       cJSON_CreateStringArray(privacy_does_more, PRIVACY_COUNT(privacy_does_more)));
    r |=
        json_add_item(json, "cannot", cJSON_CreateStringArray(privacy_cannot, PRIVACY_COUNT(privacy_cannot)));
    if (r == 0)
        r = privacy_add_members(sees, enroll_members, ENROLL_FIELDS, "enrollment");
    if (r == 0)
        r = privacy_add_members(sees, report_members, REPORT_FIELDS, "report");
    for (int i = 0; r == 0 && i < ORDER_KINDS; i++)
        r = privacy_add_pair(orders, "kind", order_kind_name((enum order_kind)i),
                             order_kind_words((enum order_kind)i));
    for (size_t i = 0; r == 0 && i < receipt_checks_count; i++)
        r = privacy_add_pair(looks, "check", receipt_checks[i].name, receipt_checks[i].words);
    if (r < 0)
        return err_set(ERR_SYSTEM, "out of memory");
    *ret = steal(json);
    return 0;
}

static void privacy_members(const struct report_member *members, int n) {
    for (int i = 0; i < n; i++)
        (void)printf("  - %s\n", members[i].words);
}

static void privacy_lines(const char *const *lines, size_t n) {
    for (size_t i = 0; i < n; i++)
        (void)printf("  - %s\n", lines[i]);
}

static void privacy_print(void) {
    (void)printf("What your organization can see of this device\n\n When it is enrolled:\n");
    privacy_members(enroll_members, ENROLL_FIELDS);
    (void)printf("\n While it is enrolled, whenever it changes:\n");
    privacy_members(report_members, REPORT_FIELDS);
    (void)printf("\n Besides:\n");
    privacy_lines(privacy_sees_more, PRIVACY_COUNT(privacy_sees_more));
    (void)printf("\nWhat it can do to it\n\n By a signed order, each of which is in `satchel activity`:\n");
    for (int i = 0; i < ORDER_KINDS; i++)
        (void)printf("  - %s: %s\n", order_kind_name((enum order_kind)i),
                     order_kind_words((enum order_kind)i));
    (void)printf("\n Besides:\n");
    privacy_lines(privacy_does_more, PRIVACY_COUNT(privacy_does_more));
    (void)printf("\n After each of them the device looks for what is left, and tells how much it found:\n");
    for (size_t i = 0; i < receipt_checks_count; i++)
        (void)printf("  - %s\n", receipt_checks[i].words);
    (void)printf("\nWhat it cannot do\n\n");
    privacy_lines(privacy_cannot, PRIVACY_COUNT(privacy_cannot));
}

static int privacy_run(int argc, char **argv, bool json) {
    cleanup(cJSON) cJSON *document = NULL;
    int r = cli_arguments(argc, argv, 0, 0);
    if (r == 0 && json)
        r = privacy_json(&document);
    if (r < 0)
        return cli_fail(r, json);
    if (json)
        return cli_print(document) < 0 ? 1 : 0;
    privacy_print();
    return 0;
}

const struct cli_verb cli_privacy = {
    .name = "privacy",
    .arguments = "",
    .summary = "Show what your organization can see of this device, can do to it, and cannot.",
    .run = privacy_run,
};
