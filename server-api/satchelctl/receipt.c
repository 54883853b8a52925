/* receipt list | show | verify */
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/base/file.h"
#include "platform/base/json.h"
#include "server-api/contract/evidence.h"
#include "server-api/contract/order.h"
#include "server-api/satchelctl/ctl.h"
#include "server-api/satchelctl/output.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

static int receipt_write(const char *path, const cJSON *document) {
    cleanup(free) char *text = cJSON_Print(document);
    cleanup(buf) struct buf line = {0};
    int r = text ? buf_printf(&line, "%s\n", text) : err_set(ERR_SYSTEM, "out of memory");
    return r < 0 ? r : file_write_atomic(AT_FDCWD, path, line.data, line.len, 0644);
}

int ctl_receipt_list(struct ctl *ctl, const struct ctl_args *args) {
    static const char *const columns[] = {"id", "order", "kind", "cause", "result", "received_at", NULL};
    if (args->n != 1)
        return err_set(ERR_USAGE, "receipt list needs one ID of a device");
    cleanup(cJSON) cJSON *answer = NULL;
    cleanup(buf) struct buf path = {0};
    int r = client_path(ctl->client, "/v1/admin/devices/", args->words[0], "/receipts", &path);
    if (r == 0)
        r = client_get(ctl->client, path.data, &answer);
    if (r < 0)
        return r;
    return ctl->json ? output_json(answer) : output_table(json_array(answer, "receipts"), columns);
}

int ctl_receipt_show(struct ctl *ctl, const struct ctl_args *args) {
    if (args->n != 1)
        return err_set(ERR_USAGE, "receipt show needs one ID of an order");
    cleanup(cJSON) cJSON *order = NULL;
    cleanup(buf) struct buf path = {0};
    int r = client_path(ctl->client, "/v1/admin/orders/", args->words[0], "", &path);
    if (r == 0)
        r = client_get(ctl->client, path.data, &order);
    if (r < 0)
        return r;
    const cJSON *jws = json_object(order, "receipt_jws");
    const char *certificate = json_str(order, "certificate"), *state = json_str(order, "state");
    if (!jws || !certificate)
        return err_set(ERR_NOT_FOUND, "there is no receipt yet; the order is %s", state ? state : "?");
    cleanup(cJSON) cJSON *document =
        evidence_make(jws, certificate, json_str(order, "id"), json_str(order, "device"));
    if (!document)
        return err_set(ERR_SYSTEM, "out of memory");
    if (!args->output)
        return output_json(document);
    r = receipt_write(args->output, document);
    if (r < 0)
        return r;
    if (!ctl->json) {
        (void)printf("wrote %s; check it anywhere with: satchelctl --ca CA.pem receipt verify %s\n",
                     args->output, args->output);
        return 0;
    }
    cleanup(cJSON) cJSON *answer = cJSON_CreateObject();
    r = json_add_str(answer, "file", args->output);
    return r < 0 ? r : output_json(answer);
}

static int receipt_read_file(const char *path, size_t max, struct buf *ret) {
    if (strcmp(path, "-") != 0)
        return file_read(AT_FDCWD, path, max, ret);
    char block[8192];
    for (size_t n; (n = fread(block, 1, sizeof block, stdin)) > 0;) {
        int r =
            ret->len + n > max ? err_set(ERR_TOO_LARGE, "the document is too large") : buf_add(ret, block, n);
        if (r < 0)
            return r;
    }
    return ferror(stdin) ? err_errno("cannot read standard input") : 0;
}

static X509 *receipt_root(const struct ctl *ctl) {
    char path[PATH_MAX];
    cleanup(buf) struct buf pem = {0};
    (void)snprintf(path, sizeof path, "%s%s", ctl->ca ? ctl->ca : ctl->dir, ctl->ca ? "" : "/ca.pem");
    if (file_read(AT_FDCWD, path, CERT_PEM_MAX, &pem) < 0)
        return NULL;
    X509 *root = cert_from_pem(pem.data ? pem.data : "", pem.len);
    if (!root)
        (void)err_context(ERR_INVALID, "%s", path);
    return root;
}

static int receipt_open_file(const struct ctl *ctl, const char *path, struct evidence *ret) {
    cleanup(buf) struct buf text = {.max = EVIDENCE_MAX};
    cleanup(cJSON) cJSON *document = NULL;
    cleanup(X509) X509 *root = receipt_root(ctl);
    int r = root ? receipt_read_file(path, EVIDENCE_MAX, &text) : ERR_INVALID;
    if (r < 0)
        return r;
    r = json_parse(text.data ? text.data : "", text.len, &document);
    if (r < 0)
        return err_set(ERR_REFUSED, "NOT valid: %s is not a JSON document", path);
    r = evidence_open(document, root, ret);
    return r == ERR_REFUSED ? err_context(r, "NOT valid") : r;
}

static const char *receipt_word(const cJSON *object, const char *key) {
    return output_safe(json_str(object, key));
}

/* What the device says became of it, in a sentence. */
static void receipt_say_result(const struct evidence *e) {
    const char *kind = receipt_word(e->payload, "kind"), *at = receipt_word(e->payload, "finished_at");
    bool wipe = strcmp(kind, order_kind_name(ORDER_WIPE)) == 0 || strcmp(kind, "-") == 0;
    if (e->result != RECEIPT_DONE)
        (void)printf("It was NOT done (%s, at %s): %s.\n", receipt_result_name(e->result), at,
                     receipt_word(e->payload, "reason"));
    else if (wipe)
        (void)printf("The company's mail, account and secrets were off the device at %s.\n"
                     "Nothing of the mail could be read since %s.\n",
                     at, receipt_word(e->payload, "unreadable_at"));
    else if (strcmp(kind, order_kind_name(ORDER_LOCK)) == 0)
        (void)printf("The vault was closed at %s, and stays closed until it is unlocked.\n", at);
    else
        (void)printf("The lock was lifted at %s.\n", at);
}

static void receipt_say_details(const cJSON *payload) {
    const cJSON *item, *removed = json_object(payload, "removed");
    (void)puts("\nSteps:");
    cJSON_ArrayForEach(item, json_array(payload, "steps")) {
        const char *detail = json_str(item, "detail");
        (void)printf("  %s  %-18s %s%s%s\n", receipt_word(item, "started_at"), receipt_word(item, "name"),
                     receipt_word(item, "outcome"), detail ? ": " : "", detail ? output_safe(detail) : "");
    }
    if (removed)
        (void)printf("Removed: %lld files, %lld bytes, of a vault by %s.\n",
                     (long long)json_int(removed, "files", 0), (long long)json_int(removed, "bytes", 0),
                     receipt_word(json_object(payload, "vault"), "driver"));
    (void)puts("Looked for afterwards:");
    cJSON_ArrayForEach(item, json_array(payload, "checked")) {
        int64_t found = json_int(item, "found", -1);
        const char *what = receipt_check_words(receipt_word(item, "what"));
        if (found == 0)
            (void)printf("  %s: nothing found\n", what);
        else
            (void)printf("  %s: %lld found\n", what, (long long)found);
    }
}

static int receipt_say(const struct evidence *e) {
    char from[CLOCK_RFC3339_SIZE], to[CLOCK_RFC3339_SIZE];
    const char *order = json_str(e->payload, "order");
    (void)printf("The receipt is genuine: signed with the key of device %s,\n"
                 "whose certificate (valid from %s to %s) was issued by the CA of %s (key %s).\n",
                 output_safe(e->device), clock_rfc3339(e->not_before, from), clock_rfc3339(e->not_after, to),
                 output_safe(e->organization), e->root);
    if (order)
        (void)printf("It answers the order %s to %s the device.\n", output_safe(order),
                     receipt_word(e->payload, "kind"));
    else
        (void)printf("It answers no order (cause: %s).\n", receipt_word(e->payload, "cause"));
    receipt_say_result(e);
    receipt_say_details(e->payload);
    (void)printf("Agent: version %s\n", receipt_word(e->payload, "agent_version"));
    return fflush(stdout) == 0 && !ferror(stdout) ? 0 : err_errno("cannot write to standard output");
}

static int receipt_print_json(struct evidence *e) {
    cleanup(cJSON) cJSON *json = cJSON_CreateObject();
    int r = json_add_bool(json, "valid", true) |
            json_add_str(json, "result", receipt_result_name(e->result)) |
            json_add_str(json, "device", e->device) | json_add_str(json, "organization", e->organization) |
            json_add_str(json, "root", e->root) |
            json_add_item(json, "receipt", cJSON_Duplicate(e->payload, true));
    return r < 0 ? err_set(ERR_SYSTEM, "out of memory") : output_json(json);
}

int ctl_receipt_verify(struct ctl *ctl, const struct ctl_args *args) {
    if (args->n != 1)
        return err_set(ERR_USAGE, "receipt verify needs one FILE, or - for standard input");
    cleanup(evidence) struct evidence e = {0};
    int r = receipt_open_file(ctl, args->words[0], &e);
    if (r < 0)
        return r;
    return ctl->json ? receipt_print_json(&e) : receipt_say(&e);
}
