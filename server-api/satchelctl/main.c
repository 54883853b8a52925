/*
 * satchelctl: everything the admin API can do, from a terminal. This file is the table of the verbs.
 */
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/base/json.h"
#include "platform/base/log.h"
#include "server-api/satchelctl/ctl.h"
#include "server-api/satchelctl/output.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

struct ctl_verb {
    const char *group, *verb; /* `verb` NULL: the group is the verb */
    unsigned options;
    const char *arguments, *about;
    ctl_run *run;
};

static const struct ctl_verb verbs[] = {
    {"user", "add", CTL_ADDRESS | CTL_NAME, "LOGIN --address ADDRESS --name NAME", "adds an employee",
     ctl_user_add},
    {"user", "import", 0, "FILE.csv", "adds employees from CSV (login,address,name), all or none",
     ctl_user_import},
    {"user", "list", 0, "", "lists the employees", ctl_user_list},
    {"profile", "publish", 0, "FILE", "publishes a profile (- for standard input)", ctl_profile_publish},
    {"profile", "list", 0, "", "lists the published profiles, newest first", ctl_profile_list},
    {"profile", "show", 0, "[VERSION]", "shows a published profile", ctl_profile_show},
    {"enroll-code", "create", CTL_EXPIRES, "LOGIN [--expires 24h]", "prints an enrollment link, good once",
     ctl_enroll_code_create},
    {"device", "list", 0, "", "lists the devices", ctl_device_list},
    {"device", "show", 0, "ID", "shows a device, its report and its orders", ctl_device_show},
    {"device", "delete", CTL_ABANDON, "ID [--abandon]",
     "takes a wiped device off the lists (or gives one up)", ctl_device_delete},
    {"wipe", NULL, CTL_REASON | CTL_WAIT, "ID --reason TEXT [--wait SECONDS]",
     "orders the company's mail off a device", ctl_wipe},
    {"lock", NULL, CTL_REASON | CTL_WAIT, "ID --reason TEXT [--wait SECONDS]",
     "orders a device to keep the mail closed", ctl_lock},
    {"unlock", NULL, CTL_REASON | CTL_WAIT, "ID --reason TEXT [--wait SECONDS]",
     "lets a locked device open the mail again", ctl_unlock},
    {"order", "show", 0, "ID", "shows an order and its receipt", ctl_order_show},
    {"receipt", "list", 0, "DEVICE", "lists what a device signed, also without an order", ctl_receipt_list},
    {"receipt", "show", CTL_OUTPUT, "ORDER [--output FILE]",
     "gives a receipt as evidence, with its certificate", ctl_receipt_show},
    {"receipt", "verify", CTL_OFFLINE, "FILE",
     "checks such a file, or an order --json, against the CA; needs no server", ctl_receipt_verify},
    {"audit", "list", 0, "", "lists what was done", ctl_audit_list},
    {"audit", "verify", 0, "", "computes the chain of the audit log again", ctl_audit_verify},
    {"token", "create", CTL_OUTPUT, "NAME [--output FILE]", "makes an admin token, shown once",
     ctl_token_create},
    {"token", "list", 0, "", "lists the admin tokens", ctl_token_list},
    {"token", "revoke", 0, "ID", "ends a token", ctl_token_revoke},
};

#define VERBS (sizeof verbs / sizeof *verbs)

static const struct option options[] = {{"dir", required_argument, NULL, 'd'},
                                        {"server", required_argument, NULL, 's'},
                                        {"token-file", required_argument, NULL, 't'},
                                        {"ca", required_argument, NULL, 'c'},
                                        {"json", no_argument, NULL, 'j'},
                                        {"help", no_argument, NULL, 'h'},
                                        {"version", no_argument, NULL, 'V'},
                                        {"address", required_argument, NULL, CTL_ADDRESS},
                                        {"name", required_argument, NULL, CTL_NAME},
                                        {"expires", required_argument, NULL, CTL_EXPIRES},
                                        {"reason", required_argument, NULL, CTL_REASON},
                                        {"wait", required_argument, NULL, CTL_WAIT},
                                        {"output", required_argument, NULL, CTL_OUTPUT},
                                        {"abandon", no_argument, NULL, CTL_ABANDON},
                                        {NULL, 0, NULL, 0}};

struct ctl_line {
    const char *dir, *server, *token_file, *ca;
    bool json, help, version;
    unsigned given; /* ctl_option bits */
    struct ctl_args args;
};

/* `group` and `verb` narrow it; NULL: all. */
static void ctl_help(const char *group, const char *verb) {
    (void)puts("Usage: satchelctl [--dir DIR | --server URL --token-file FILE --ca FILE] [--json] COMMAND\n");
    for (size_t i = 0; i < VERBS; i++) {
        const struct ctl_verb *v = &verbs[i];
        if ((group && strcmp(group, v->group) != 0) ||
            (group && verb && v->verb && strcmp(verb, v->verb) != 0))
            continue;
        char line[128];
        (void)snprintf(line, sizeof line, "%s%s%s%s%s", v->group, v->verb ? " " : "", v->verb ? v->verb : "",
                       v->arguments[0] ? " " : "", v->arguments);
        (void)printf("  %-50s %s\n", line, v->about);
    }
    (void)puts("\n  --dir DIR          the server's directory, on the server's own machine\n"
               "  --server URL       an admin API elsewhere, with --token-file (see token create) and --ca\n"
               "                     (the server's ca.pem)\n"
               "  --json             prints one JSON document\n"
               "  --help, --version\n\n"
               "Exit status: 0 done, 1 failed, 2 usage, 3 not reachable, 4 refused.");
}

static void ctl_set_option(struct ctl_line *line, int option, const char *value) {
    switch (option) {
    case 'd':
        line->dir = value;
        return;
    case 's':
        line->server = value;
        return;
    case 't':
        line->token_file = value;
        return;
    case 'c':
        line->ca = value;
        return;
    case CTL_ADDRESS:
        line->args.address = value;
        break;
    case CTL_NAME:
        line->args.name = value;
        break;
    case CTL_EXPIRES:
        line->args.expires = value;
        break;
    case CTL_REASON:
        line->args.reason = value;
        break;
    case CTL_WAIT:
        line->args.wait = value;
        break;
    case CTL_ABANDON:
        line->args.abandon = true;
        break;
    default:
        line->args.output = value;
    }
    line->given |= (unsigned)option;
}

static int ctl_parse(int argc, char **argv, struct ctl_line *line) {
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == '?')
            return err_set(ERR_USAGE, "see satchelctl --help");
        if (c == 'j')
            line->json = true;
        else if (c == 'h')
            line->help = true;
        else if (c == 'V')
            line->version = true;
        else
            ctl_set_option(line, c, optarg);
    }
    line->args.n = argc - optind;
    line->args.words = argv + optind;
    return 0;
}

/* Takes the verb off the words. NULL with err_text(). */
static const struct ctl_verb *ctl_find(struct ctl_line *line) {
    struct ctl_args *a = &line->args;
    for (size_t i = 0; i < VERBS && a->n; i++) {
        const struct ctl_verb *v = &verbs[i];
        int words = v->verb ? 2 : 1;
        if (strcmp(v->group, a->words[0]) != 0 || a->n < words ||
            (v->verb && strcmp(v->verb, a->words[1]) != 0))
            continue;
        a->n -= words;
        a->words += words;
        if (line->given & ~v->options) {
            (void)err_set(ERR_USAGE, "%s%s%s does not take one of these options; see --help", v->group,
                          v->verb ? " " : "", v->verb ? v->verb : "");
            return NULL;
        }
        return v;
    }
    (void)(a->n ? err_set(ERR_USAGE, "there is no command \"%s%s%s\"; see satchelctl --help", a->words[0],
                          a->n > 1 ? " " : "", a->n > 1 ? a->words[1] : "")
                : err_set(ERR_USAGE, "a command is missing; see satchelctl --help"));
    return NULL;
}

static int ctl_connect(const struct ctl_line *line, const struct ctl_verb *verb, struct ctl *ctl) {
    if (verb->options & CTL_OFFLINE) {
        ctl->dir = line->dir;
        ctl->ca = line->ca;
        return (line->dir || line->ca) && !(line->dir && line->ca) && !line->server && !line->token_file
                   ? 0
                   : err_set(ERR_USAGE, "%s %s needs --ca FILE or --dir DIR, and no server", verb->group,
                             verb->verb);
    }
    if (line->dir && !line->server && !line->token_file && !line->ca)
        return client_open_dir(line->dir, &ctl->client);
    if (!line->dir && line->server && line->token_file && line->ca)
        return client_open_server(line->server, line->token_file, line->ca, &ctl->client);
    return err_set(ERR_USAGE, "either --dir, or --server with --token-file and --ca, is needed");
}

/* What the server said besides its sentence: the places in a profile, the lines of a CSV file. */
static void ctl_print_errors(const cJSON *problem) {
    const cJSON *item;
    cJSON_ArrayForEach(item, json_array(problem, "errors")) {
        const cJSON *pointer = cJSON_GetObjectItemCaseSensitive(item, "pointer");
        const cJSON *at = pointer ? pointer : cJSON_GetObjectItemCaseSensitive(item, "line");
        cleanup(free) char *where = output_value(at);
        cleanup(free) char *what = output_value(cJSON_GetObjectItemCaseSensitive(item, "detail"));
        (void)fprintf(stderr, "  %s%s: %s\n", pointer ? "" : "line ",
                      where && *where ? where : "the document", what ? what : "?");
    }
}

static void ctl_print_failure(const struct ctl_line *line, const struct ctl *ctl, int code) {
    char text[1024];
    (void)snprintf(text, sizeof text, "%s", err_text());
    (void)fprintf(stderr, "satchelctl: %s\n", text);
    const cJSON *problem = ctl->client ? client_problem(ctl->client) : NULL;
    ctl_print_errors(problem);
    if (!line->json || output_json_printed())
        return;
    cleanup(cJSON) cJSON *json = cJSON_CreateObject();
    cJSON *error = cJSON_CreateObject();
    if (json_add_item(json, "error", error) == 0 && json_add_str(error, "kind", err_name(code)) == 0 &&
        json_add_str(error, "text", text) == 0 &&
        json_add_item(error, "problem", problem ? cJSON_Duplicate(problem, true) : cJSON_CreateNull()) == 0)
        (void)output_json(json);
}

static int ctl_main(int argc, char **argv) {
    log_init("satchelctl", LOG_LEVEL_WARNING);
    struct ctl_line line = {0};
    struct ctl ctl = {0};
    int r = ctl_parse(argc, argv, &line);
    if (r == 0 && line.version) {
        (void)puts("satchelctl " SATCHEL_VERSION);
        return 0;
    }
    if (r == 0 && line.help) {
        ctl_help(line.args.n ? line.args.words[0] : NULL, line.args.n > 1 ? line.args.words[1] : NULL);
        return 0;
    }
    const struct ctl_verb *verb = r == 0 ? ctl_find(&line) : NULL;
    r = verb ? ctl_connect(&line, verb, &ctl) : ERR_USAGE;
    ctl.json = line.json;
    if (r == 0)
        r = verb->run(&ctl, &line.args);
    if (r < 0)
        ctl_print_failure(&line, &ctl, r);
    client_close(ctl.client);
    return err_exit(r);
}

/* What could not be shown was not done: a full disk behind standard output is a failure. */
int main(int argc, char **argv) {
    int status = ctl_main(argc, argv);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        (void)fprintf(stderr, "satchelctl: cannot write the output\n");
        status = status ? status : 1;
    }
    return status;
}
