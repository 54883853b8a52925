/* satchel sync: both directions, now. */
#include "agent/cli/bar.h"
#include "agent/cli/cli.h"
#include "platform/base/err.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

int cli_sync_wait(struct cli_agent *a, bool json, bool confirm_deletions, cJSON **ret_result) {
    bool bar = !json && isatty(STDERR_FILENO);
    cJSON *params = cJSON_CreateObject();
    int r =
        json_add_bool(params, "wait", true) | json_add_bool(params, "confirm_deletions", confirm_deletions);
    if (r == 0)
        r = cli_call(a, "sync", params, bar ? bar_draw : NULL, ret_result);
    else
        cJSON_Delete(params);
    if (bar)
        bar_clear();
    return r;
}

static int sync_order(struct cli_agent *a, bool confirm_deletions, cJSON **ret_result) {
    cJSON *params = cJSON_CreateObject();
    int r = json_add_bool(params, "confirm_deletions", confirm_deletions);
    if (r < 0)
        cJSON_Delete(params);
    return r < 0 ? r : cli_call(a, "sync", params, NULL, ret_result);
}

static int sync_options(int argc, char **argv, bool *ret_wait, bool *ret_confirm) {
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--wait") == 0)
            *ret_wait = true;
        else if (strcmp(argv[i], "--confirm-deletions") == 0)
            *ret_confirm = true;
        else
            return err_set(ERR_USAGE, "sync: \"%s\" makes no sense here; see `satchel sync --help`", argv[i]);
    return 0;
}

static int sync_run(int argc, char **argv, bool json) {
    bool wait = false, confirm = false;
    int r = sync_options(argc, argv, &wait, &confirm);
    cleanup(cli_agent) struct cli_agent a = {.fd = -1};
    cleanup(cJSON) cJSON *result = NULL;
    if (r == 0)
        r = cli_connect(true, &a);
    if (r == 0)
        r = wait ? cli_sync_wait(&a, json, confirm, &result) : sync_order(&a, confirm, &result);
    if (r < 0)
        return cli_fail(r, json);
    if (json)
        return cli_print(result) < 0 ? 1 : 0;
    if (wait)
        (void)printf("Synchronized: %lld messages in %lld folders, %lld changes still to be sent.\n",
                     (long long)json_int(result, "messages", 0), (long long)json_int(result, "folders", 0),
                     (long long)json_int(result, "pending", 0));
    else
        (void)printf("Synchronizing; `satchel sync --wait` shows the progress.\n");
    return 0;
}

const struct cli_verb cli_sync = {
    .name = "sync",
    .arguments = "[--wait] [--confirm-deletions]",
    .summary =
        "Synchronize now, both ways. --wait shows the progress and returns when it is done.\n"
        "Where more than half of a folder was deleted at once, nothing is done in it until you say with\n"
        "--confirm-deletions that this was meant.",
    .run = sync_run,
};
