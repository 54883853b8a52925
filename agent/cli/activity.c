/* satchel activity: what the company asked for and the agent did. */
#include "agent/state/activity.h"
#include "agent/cli/cli.h"
#include "platform/base/err.h"
#include "platform/linux/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#define ACTIVITY_MOST 10000

/* Read from the record itself: it is the employee's, and there also while satcheld does not run. */
static int activity_run(int argc, char **argv, bool json) {
    struct paths paths;
    cleanup(cJSON) cJSON *list = NULL;
    int r = cli_arguments(argc, argv, 0, 0);
    if (r == 0)
        r = paths_find(&paths);
    cleanup(fd) int dir = r == 0 ? open(paths.state, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (r == 0 && dir < 0 && errno != ENOENT)
        r = err_errno("cannot open %s", paths.state);
    if (r == 0 && dir >= 0)
        r = activity_list(dir, ACTIVITY_MOST, &list);
    if (r == 0 && dir < 0)
        list = cJSON_CreateArray();
    if (r < 0)
        return cli_fail(r, json);
    if (json)
        return cli_print(list) < 0 ? 1 : 0;
    const cJSON *entry;
    cJSON_ArrayForEach(entry, list) {
        (void)printf("%s  %-12s %s\n", cli_safe(json_str(entry, "at")), cli_safe(json_str(entry, "what")),
                     cli_safe(json_str(entry, "text")));
    }
    return 0;
}

const struct cli_verb cli_activity = {
    .name = "activity",
    .arguments = "",
    .summary = "Show what your organization asked for and what was done on this device.",
    .run = activity_run,
};
