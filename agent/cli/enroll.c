/* satchel enroll LINK: becoming a managed device, the mail password, the first sync. */
#include "agent/cli/cli.h"
#include "platform/base/err.h"

#include <stdio.h>
#include <string.h>

static bool enroll_needs_password(const cJSON *status) {
    const char *imap = json_str(json_object(status, "account"), "imap");
    return json_object(status, "profile") && imap && strcmp(imap, "no-credential") == 0;
}

/* What there is to say before the mail is set up, or why it cannot be yet. */
static void enroll_tell(const cJSON *status, bool json) {
    if (json)
        return;
    const cJSON *account = json_object(status, "account"), *profile = json_object(status, "profile"),
                *problem = json_object(status, "profile_problem");
    (void)printf("Enrolled with %s as %s.\n", cli_safe(json_str(status, "organization")),
                 cli_safe(json_str(account, "address")));
    if (profile)
        (void)printf("Mail profile %s, version %lld.\n", cli_safe(json_str(profile, "id")),
                     (long long)json_int(profile, "version", 0));
    else if (problem)
        (void)printf("The mail profile was refused: %s\n", cli_safe(json_str(problem, "text")));
    else
        (void)printf("Your organization has not published a mail profile yet. It is set up as soon as there "
                     "is one; give your "
                     "mail password then with `satchel password`.\n");
    (void)fflush(stdout);
}

static int enroll_mail(struct cli_agent *a, bool from_stdin, bool json, cJSON **status) {
    const char *address = json_str(json_object(*status, "account"), "address");
    cJSON *next = NULL;
    int r = cli_give_password(a, from_stdin, address, &next);
    if (r < 0)
        return r;
    cJSON_Delete(*status);
    *status = next;
    cleanup(cJSON) cJSON *synced = NULL;
    r = cli_sync_wait(a, json, false, &synced);
    if (r == 0 && !json)
        (void)printf("Mail is here: %lld messages in %lld folders, in %s/Mail.\n",
                     (long long)json_int(synced, "messages", 0), (long long)json_int(synced, "folders", 0),
                     cli_safe(json_str(json_object(*status, "vault"), "path")));
    return r;
}

static int enroll_run_verb(int argc, char **argv, bool json) {
    bool from_stdin = false;
    const char *link = "";
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--password-stdin") == 0)
            from_stdin = true;
        else if (argv[i][0] == '-' || *link)
            return cli_fail(err_set(ERR_USAGE,
                                    "enroll: \"%s\" makes no sense here; see `satchel enroll --help`",
                                    argv[i]),
                            json);
        else
            link = argv[i];
    }
    cleanup(cli_agent) struct cli_agent a = {.fd = -1};
    cleanup(cJSON) cJSON *status = NULL, *params = cJSON_CreateObject();
    int r = cli_connect(true, &a);
    if (r == 0)
        r = json_add_str(params, "link", link);
    if (r == 0)
        r = cli_call(&a, "enroll", steal(params), NULL, &status);
    if (r < 0)
        return cli_fail(r, json);
    enroll_tell(status, json);
    if (enroll_needs_password(status))
        r = enroll_mail(&a, from_stdin, json, &status);
    if (r < 0)
        return cli_fail(r, json);
    cleanup(cJSON) cJSON *last = NULL;
    r = cli_call(&a, "status", NULL, NULL, &last);
    if (r < 0)
        return cli_fail(r, json);
    return json && cli_print(last) < 0 ? 1 : 0;
}

const struct cli_verb cli_enroll = {
    .name = "enroll",
    .arguments = "[LINK] [--password-stdin]",
    .summary =
        "Enroll this device with the link from your administrator, give the mail password, get the mail.\n"
        "Without LINK: go on with an enrollment whose password was not taken.\n"
        "--password-stdin reads the password from standard input, a line a try.",
    .run = enroll_run_verb,
};
