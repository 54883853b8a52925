/* satchel: the employee's terminal. A table of verbs; each is a file in cli/. */
#include "agent/cli/cli.h"
#include "platform/base/err.h"
#include "platform/base/log.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

static const struct cli_verb *const satchel_verbs[] = {
    &cli_enroll, &cli_status, &cli_sync, &cli_password, &cli_activity, &cli_privacy, &cli_doctor, &cli_leave};
#define SATCHEL_VERBS (sizeof satchel_verbs / sizeof *satchel_verbs)

static void satchel_help(FILE *out) {
    (void)fprintf(out,
                  "satchel: your organization's mail on this device\n\nUsage: satchel COMMAND [OPTIONS]\n\n");
    for (size_t i = 0; i < SATCHEL_VERBS; i++)
        (void)fprintf(out, "  %-9s %-27s %.*s\n", satchel_verbs[i]->name, satchel_verbs[i]->arguments,
                      (int)strcspn(satchel_verbs[i]->summary, "\n"), satchel_verbs[i]->summary);
    (void)fprintf(out, "\nEvery command takes --json (one JSON document on standard output) and --help.\n"
                       "Exit status: 0 done, 1 failed, 2 usage, 3 not reachable, 4 refused.\n");
}

static const struct cli_verb *satchel_find(const char *name) {
    for (size_t i = 0; i < SATCHEL_VERBS; i++)
        if (strcmp(satchel_verbs[i]->name, name) == 0)
            return satchel_verbs[i];
    return NULL;
}

/* Takes --json and --help out of the arguments, wherever they stand. */
static int satchel_common(int argc, char **argv, bool *json, bool *help) {
    int n = 0;
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            *json = true;
        else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            *help = true;
        else
            argv[n++] = argv[i];
    }
    argv[n] = NULL;
    return n;
}

static int satchel_main(int argc, char **argv) {
    bool json = false, help = false;
    log_init("satchel", LOG_LEVEL_WARNING);
    (void)signal(SIGPIPE, SIG_IGN);
    argc = satchel_common(argc, argv, &json, &help);
    if (argc == 2 && strcmp(argv[1], "--version") == 0)
        return printf("satchel %s\n", SATCHEL_VERSION) < 0;
    if (argc < 2) {
        satchel_help(help ? stdout : stderr);
        return help ? 0 : 2;
    }
    const struct cli_verb *verb = satchel_find(argv[1]);
    if (!verb)
        return cli_fail(err_set(ERR_USAGE, "there is no command \"%s\"; see `satchel --help`", argv[1]),
                        json);
    if (help)
        return printf("Usage: satchel %s %s [--json]\n\n%s\n", verb->name, verb->arguments, verb->summary) <
               0;
    return verb->run(argc - 1, argv + 1, json);
}

/* What could not be shown was not done: a full disk behind standard output is a failure. */
int main(int argc, char **argv) {
    /* A password passes through: no core dump, and no reading of our memory. */
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    (void)prctl(PR_SET_DUMPABLE, 0);
    int status = satchel_main(argc, argv);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        (void)fprintf(stderr, "satchel: cannot write the output\n");
        status = status ? status : 1;
    }
    return status;
}
