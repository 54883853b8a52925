/* device list | show | delete */
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/base/json.h"
#include "server-api/satchelctl/ctl.h"
#include "server-api/satchelctl/output.h"

#include <stdio.h>
#include <string.h>

int ctl_device_list(struct ctl *ctl, const struct ctl_args *args) {
    static const char *const columns[] = {"id",        "login",         "name", "state",
                                          "last_seen", "agent_version", "os",   NULL};
    if (args->n != 0)
        return err_set(ERR_USAGE, "device list takes no arguments");
    cleanup(cJSON) cJSON *answer = NULL;
    int r = client_list(ctl->client, "/v1/admin/devices", "devices", &answer);
    if (r < 0)
        return r;
    return ctl->json ? output_json(answer) : output_table(json_array(answer, "devices"), columns);
}

int ctl_device_show(struct ctl *ctl, const struct ctl_args *args) {
    static const char *const keys[] = {"id",    "login",       "name",      "os",          "agent_version",
                                       "state", "enrolled_at", "last_seen", "reported_at", "report",
                                       NULL};
    static const char *const columns[] = {"id", "kind", "state", "reason", "ordered_at", "finished_at", NULL};
    if (args->n != 1)
        return err_set(ERR_USAGE, "device show needs one ID");
    cleanup(cJSON) cJSON *answer = NULL;
    cleanup(buf) struct buf path = {0};
    int r = client_path(ctl->client, "/v1/admin/devices/", args->words[0], "", &path);
    if (r == 0)
        r = client_get(ctl->client, path.data, &answer);
    if (r < 0)
        return r;
    if (ctl->json)
        return output_json(answer);
    r = output_fields(answer, keys);
    if (r == 0 && cJSON_GetArraySize(json_array(answer, "orders"))) {
        (void)puts("\norders:");
        r = output_table(json_array(answer, "orders"), columns);
    }
    return r;
}

int ctl_device_delete(struct ctl *ctl, const struct ctl_args *args) {
    if (args->n != 1)
        return err_set(ERR_USAGE, "device delete needs one ID");
    cleanup(buf) struct buf path = {0};
    cleanup(cJSON) cJSON *answer = NULL;
    int r = client_path(ctl->client, "/v1/admin/devices/", args->words[0],
                        args->abandon ? "?abandon=true" : "", &path);
    if (r == 0)
        r = client_call(ctl->client, &(struct client_request){.method = "DELETE", .path = path.data},
                        &answer);
    if (r < 0)
        return r;
    if (!ctl->json) {
        (void)printf("deleted %s; its orders and receipts stay\n", args->words[0]);
        return 0;
    }
    answer = cJSON_CreateObject();
    r = json_add_str(answer, "deleted", args->words[0]);
    return r < 0 ? r : output_json(answer);
}
