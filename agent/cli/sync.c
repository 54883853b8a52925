/* satchel sync: both directions, now. */
#include "agent/cli/cli.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SYNC_BAR 30

static int64_t sync_began, sync_first = -1;

/* [#####.....] 1,234 of 2,000 messages, 12.3 MB, 800/s, 2 s left */
static void sync_bar(const cJSON *params) {
    int64_t done = json_int(params, "done", 0), total = json_int(params, "total", 0),
            bytes = json_int(params, "bytes", 0);
    if (total <= 0 || done > total)
        return;
    if (sync_first < 0) {
        sync_first = done;
        sync_began = clock_boot_ms();
    }
    int64_t elapsed = clock_boot_ms() - sync_began;
    int64_t rate = elapsed > 200 ? (done - sync_first) * 1000 / elapsed : 0;
    int filled = (int)(done * SYNC_BAR / total);
    char bar[SYNC_BAR + 1], left[32] = "";
    for (int i = 0; i < SYNC_BAR; i++)
        bar[i] = i < filled ? '#' : '.';
    bar[SYNC_BAR] = '\0';
    if (rate > 0)
        (void)snprintf(left, sizeof left, ", %lld s left", (long long)((total - done) / rate));
    (void)fprintf(stderr, "\r[%s] %lld of %lld messages, %.1f MB, %lld/s%s\033[K", bar, (long long)done,
                  (long long)total, (double)bytes / 1e6, (long long)rate, left);
}

int cli_sync_wait(struct cli_agent *a, bool json, cJSON **ret_result) {
    bool bar = !json && isatty(STDERR_FILENO);
    cJSON *params = cJSON_CreateObject();
    int r = json_add_bool(params, "wait", true);
    if (r == 0)
        r = cli_call(a, "sync", params, bar ? sync_bar : NULL, ret_result);
    else
        cJSON_Delete(params);
    if (bar)
        (void)fprintf(stderr, "\r\033[K");
    return r;
}

static int sync_run(int argc, char **argv, bool json) {
    bool wait = argc == 2 && strcmp(argv[1], "--wait") == 0;
    int r = cli_arguments(argc, argv, 0, wait ? 1 : 0);
    cleanup(cli_agent) struct cli_agent a = {.fd = -1};
    cleanup(cJSON) cJSON *result = NULL;
    if (r == 0)
        r = cli_connect(true, &a);
    if (r == 0)
        r = wait ? cli_sync_wait(&a, json, &result) : cli_call(&a, "sync", NULL, NULL, &result);
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
    .arguments = "[--wait]",
    .summary = "Synchronize now, both ways. --wait shows the progress and returns when it is done.",
    .run = sync_run,
};
