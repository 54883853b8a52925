/* satchel activity: what the company asked for and the agent did. The record is the employee's own. */
#include "agent/state/activity.h"
#include "agent/cli/cli.h"
#include "platform/base/err.h"
#include "platform/linux/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define ACTIVITY_MOST 10000

/* -1 where there is no directory, and so no record. */
static int activity_open(int *ret_dir) {
    struct paths paths;
    int r = paths_find(&paths);
    if (r < 0)
        return r;
    *ret_dir = open(paths.state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return *ret_dir >= 0 || errno == ENOENT ? 0 : err_errno("cannot open %s", paths.state);
}

/* Read from the record itself: it is there also while satcheld does not run. */
static int activity_show(int dir, bool json) {
    cleanup(cJSON) cJSON *list = NULL;
    int r = dir >= 0 ? activity_list(dir, ACTIVITY_MOST, &list) : 0;
    if (r == 0 && dir < 0)
        list = cJSON_CreateArray();
    if (r < 0 || json)
        return r < 0 ? r : cli_print(list);
    const cJSON *entry;
    cJSON_ArrayForEach(entry, list) {
        (void)printf("%s  %-12s %s\n", cli_safe(json_str(entry, "at")), cli_safe(json_str(entry, "what")),
                     cli_safe(json_str(entry, "text")));
    }
    return 0;
}

/* Asked only where there is somebody to answer. */
static int activity_confirm(void) {
    char answer[16] = "";
    if (!isatty(STDIN_FILENO))
        return 0;
    (void)printf(
        "This removes your record of what your organization asked for on this device. Nobody else has it. "
        "Remove it? [y/N] ");
    (void)fflush(stdout);
    if (!fgets(answer, sizeof answer, stdin) ||
        (strcasecmp(answer, "y\n") != 0 && strcasecmp(answer, "yes\n") != 0))
        return err_set(ERR_CANCELED, "nothing was removed");
    return 0;
}

static int activity_drop(int dir, bool json, bool yes) {
    int r = yes ? 0 : activity_confirm();
    if (r == 0 && dir >= 0)
        r = activity_remove(dir);
    if (r < 0)
        return r;
    if (!json)
        return printf("The record was removed.\n") < 0 ? err_errno("cannot print") : 0;
    cleanup(cJSON) cJSON *done = cJSON_CreateObject();
    return json_add_bool(done, "removed", true) < 0 ? err_set(ERR_SYSTEM, "out of memory") : cli_print(done);
}

static int activity_run(int argc, char **argv, bool json) {
    bool drop = argc > 1 && strcmp(argv[1], "--remove") == 0;
    bool yes = drop && argc > 2 && strcmp(argv[2], "--yes") == 0;
    cleanup(fd) int dir = -1;
    int r = cli_arguments(argc, argv, 0, drop + yes);
    if (r == 0)
        r = activity_open(&dir);
    if (r == 0)
        r = drop ? activity_drop(dir, json, yes) : activity_show(dir, json);
    return r < 0 ? cli_fail(r, json) : 0;
}

const struct cli_verb cli_activity = {
    .name = "activity",
    .arguments = "[--remove [--yes]]",
    .summary = "Show what your organization asked for and what was done on this device. --remove: removes "
               "the record, "
               "which is yours alone.",
    .run = activity_run,
};
