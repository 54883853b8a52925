/*
 * What the verbs of `satchel` share: their table entry, the common options, the conversation with satcheld.
 * One file per verb; each verb parses its own arguments, prints for a person or one JSON document, and
 * returns the exit status.
 */
#ifndef SATCHEL_CLI_CLI_H
#define SATCHEL_CLI_CLI_H

#include "platform/base/frame.h"

#include <stdbool.h>

struct cli_verb {
    const char *name;
    const char *arguments; /* for the usage line */
    const char *summary;
    int (*run)(int argc, char **argv, bool json); /* argv[0] is the verb */
};

extern const struct cli_verb cli_activity, cli_doctor, cli_enroll, cli_leave, cli_password, cli_privacy,
    cli_status, cli_sync;

/* A conversation with satcheld. */
struct cli_agent {
    int fd;
    struct frame frame;
};

/* Connects; with `start`, starts satcheld where it does not run. ERR_UNREACHABLE. */
int cli_connect(bool start, struct cli_agent *ret);
void cli_disconnect(struct cli_agent *a);
#define cli_agent_cleanup cli_disconnect

/*
 * Calls a method. Takes over `params` (may be NULL) and clears its strings. `progress` (may be NULL) is told
 * the params of each notification. Returns 0 with *ret_result, or the code of the error with its text in
 * err_text(). The exit status for it is err_exit().
 */
int cli_call(struct cli_agent *a, const char *method, cJSON *params, void (*progress)(const cJSON *params),
             cJSON **ret_result);

/* Prints err_text(), as {"error":{...}} in JSON, and returns the exit status for the code. */
int cli_fail(int code, bool json);

/* Prints the document and a newline to standard output. */
int cli_print(const cJSON *json);

/* ERR_USAGE, naming the argument that does not fit, unless argc is at most `most` + 1. */
int cli_arguments(int argc, char **argv, int least, int most);

/* The full pass with its progress bar, for `enroll` and `sync --wait`. 0 or a code. */
int cli_sync_wait(struct cli_agent *a, bool json, bool confirm_deletions, cJSON **ret_result);

/* Asks for the mail password up to three times (or takes lines of standard input) until satcheld takes it. 0
 * with the status, or a code. */
int cli_give_password(struct cli_agent *a, bool from_stdin, const char *login, cJSON **ret_status);

/* A text safe for a terminal: control characters become "?". Valid until the next call but seven. */
const char *cli_safe(const char *text);

#endif
