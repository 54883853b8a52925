/* satchel leave: the employee's own wipe. */
#include "agent/cli/cli.h"
#include "platform/base/err.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* Asked only where there is somebody to answer: a script that calls this knows what it wants. */
static int leave_confirm(void) {
    char answer[16] = "";
    if (!isatty(STDIN_FILENO))
        return 0;
    (void)printf(
        "This removes your organization's mail and account from this device. The mail on the server stays.\n"
        "Changes that have not been sent to the server yet are lost. Leave? [y/N] ");
    (void)fflush(stdout);
    if (!fgets(answer, sizeof answer, stdin) ||
        (strcasecmp(answer, "y\n") != 0 && strcasecmp(answer, "yes\n") != 0))
        return err_set(ERR_CANCELED, "nothing was changed");
    return 0;
}

static int leave_run(int argc, char **argv, bool json) {
    bool yes = argc == 2 && strcmp(argv[1], "--yes") == 0;
    int r = cli_arguments(argc, argv, 0, yes ? 1 : 0);
    cleanup(cli_agent) struct cli_agent a = {.fd = -1};
    cleanup(cJSON) cJSON *status = NULL;
    if (r == 0)
        r = cli_connect(true, &a);
    if (r == 0 && !yes)
        r = leave_confirm();
    if (r == 0)
        r = cli_call(&a, "leave", NULL, NULL, &status);
    if (r < 0)
        return cli_fail(r, json);
    if (json)
        return cli_print(status) < 0 ? 1 : 0;
    (void)printf("The organization's mail, account and secrets are gone from this device. Your own files "
                 "were not touched.\n"
                 "`satchel activity` keeps the record.\n");
    return 0;
}

const struct cli_verb cli_leave = {
    .name = "leave",
    .arguments = "[--yes]",
    .summary = "Take your organization's mail off this device yourself. --yes, or a standard input that is "
               "no terminal: does not ask.",
    .run = leave_run,
};
