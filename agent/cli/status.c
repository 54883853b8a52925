/* satchel status: the present state in words, or as the documented JSON. */
#include "agent/cli/bar.h"
#include "agent/cli/cli.h"
#include "agent/state/device.h"
#include "platform/base/err.h"
#include "platform/linux/paths.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static void status_server(const cJSON *server) {
    const char *text = json_str(server, "text"), *since = json_str(server, "disconnected_since");
    if (json_bool(server, "connected", false))
        (void)printf("Server:       %s, connected (last contact %s)\n", cli_safe(json_str(server, "url")),
                     cli_safe(json_str(server, "last_contact")));
    else
        (void)printf("Server:       %s, NOT reachable since %s%s%s. Mail goes on without it.\n",
                     cli_safe(json_str(server, "url")), since ? cli_safe(since) : "the start",
                     text ? ": " : "", cli_safe(text));
}

static void status_account(const cJSON *account) {
    const char *text = json_str(account, "text"), *push = json_str(account, "push"),
               *last = json_str(account, "last_sync");
    (void)printf("Account:      %s, IMAP %s%s%s\n", cli_safe(json_str(account, "address")),
                 cli_safe(json_str(account, "imap")), text ? ": " : "", cli_safe(text));
    (void)printf("Mail:         %lld messages in %lld folders, %lld local changes to send, new mail by %s, "
                 "last sync %s\n",
                 (long long)json_int(account, "messages", 0), (long long)json_int(account, "folders", 0),
                 (long long)json_int(account, "pending", 0), push ? cli_safe(push) : "-",
                 last ? cli_safe(last) : "never");
    if (json_object(account, "progress")) {
        char progress[BAR_TEXT];
        bar_text(json_object(account, "progress"), progress);
        (void)printf("Download:     %s\n", progress);
    }
    if (json_int(account, "asks", 0) > 0)
        (void)printf(
            "Held back:    more than half of the mail was deleted at once in %lld %s. Nothing is done "
            "there until you say that this was meant: `satchel sync --confirm-deletions`\n",
            (long long)json_int(account, "asks", 0),
            json_int(account, "asks", 0) == 1 ? "folder" : "folders");
}

static void status_protection(const cJSON *p) {
    static const struct {
        const char *key, *text;
    } parts[] = {{"calls", "starts no program"},
                 {"files", "reaches no file outside the vault"},
                 {"ports", "connects to its mail server alone"},
                 {"processes", "signals no other program"}};
    (void)printf("Confined:     the mail process");
    int n = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (json_bool(p, parts[i].key, false))
            (void)printf("%s %s", n++ ? "," : "", parts[i].text);
    (void)printf(n ? "\n" : " NOT: the kernel offers nothing for it\n");
}

static void status_human(const cJSON *status) {
    const cJSON *profile = json_object(status, "profile"), *server = json_object(status, "server"),
                *account = json_object(status, "account"), *vault = json_object(status, "vault"),
                *keyring = json_object(status, "keyring"), *problem = json_object(status, "profile_problem"),
                *wipe = json_object(status, "wipe"), *lock = json_object(status, "lock");
    (void)printf("State:        %s%s%s\n", json_str(status, "state"),
                 json_str(status, "organization") ? ", by " : "", cli_safe(json_str(status, "organization")));
    if (lock)
        (void)printf("Locked:       since %s: %s.\n", cli_safe(json_str(lock, "since")),
                     cli_safe(json_str(lock, "text")));
    if (wipe)
        (void)printf("Wipe:         %s\n", cli_safe(json_str(wipe, "text")));
    if (profile)
        (void)printf("Profile:      %s, version %lld\n", cli_safe(json_str(profile, "id")),
                     (long long)json_int(profile, "version", 0));
    if (problem)
        (void)printf("Refused:      profile version %lld: %s\n", (long long)json_int(problem, "version", 0),
                     cli_safe(json_str(problem, "text")));
    if (server)
        status_server(server);
    if (account)
        status_account(account);
    if (vault && json_str(vault, "driver") && *json_str(vault, "driver"))
        (void)printf("Vault:        %s, %s, %.1f MB, %s\n", json_str(vault, "driver"),
                     json_bool(vault, "open", false) ? "open" : "closed",
                     (double)json_int(vault, "bytes", 0) / 1e6, cli_safe(json_str(vault, "path")));
    if (keyring)
        (void)printf("Keyring:      %s\n", !json_bool(keyring, "available", false) ? "NOT available"
                                           : json_bool(keyring, "locked", false)   ? "LOCKED"
                                                                                   : "available");
    if (json_object(status, "protection"))
        status_protection(json_object(status, "protection"));
    if (json_str(status, "problem"))
        (void)printf("Problem:      %s\n", cli_safe(json_str(status, "problem")));
}

/* Whether this device belongs to an organization, as far as the disk tells. */
static int status_enrolled(bool *ret) {
    struct paths paths;
    cleanup(device) struct device device = {0};
    int r = paths_find(&paths);
    cleanup(fd) int dir = r == 0 ? open(paths.state, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (dir >= 0)
        r = device_load(dir, &device);
    if (r == 0)
        *ret = device.state != DEVICE_UNENROLLED;
    return r;
}

/* On a device that belongs to nobody there is nothing to start an agent for. */
static int status_unenrolled(cJSON **ret) {
    cleanup(cJSON) cJSON *status = cJSON_CreateObject();
    cJSON *agent = cJSON_CreateObject();
    int r = json_add_str(status, "state", device_state_name(DEVICE_UNENROLLED)) |
            json_add_bool(agent, "running", false) | json_add_item(status, "agent", agent);
    if (r == 0)
        *ret = steal(status);
    return r;
}

/* An enrolled device without its agent gets no mail and no orders: asking for its status starts it. */
static int status_ask(cJSON **ret) {
    bool enrolled = false;
    cleanup(cli_agent) struct cli_agent a = {.fd = -1};
    int r = cli_connect(false, &a);
    if (r == ERR_UNREACHABLE) {
        r = status_enrolled(&enrolled);
        if (r == 0 && !enrolled)
            return status_unenrolled(ret);
        if (r == 0)
            r = cli_connect(true, &a);
    }
    return r < 0 ? r : cli_call(&a, "status", NULL, NULL, ret);
}

static int status_run(int argc, char **argv, bool json) {
    cleanup(cJSON) cJSON *status = NULL;
    int r = cli_arguments(argc, argv, 0, 0);
    if (r == 0)
        r = status_ask(&status);
    if (r < 0)
        return cli_fail(r, json);
    if (json)
        return cli_print(status) < 0 ? 1 : 0;
    status_human(status);
    return 0;
}

const struct cli_verb cli_status = {
    .name = "status",
    .arguments = "",
    .summary = "Show the state of the enrollment, the mail, the vault and the keyring. Starts satcheld on an "
               "enrolled device.",
    .run = status_run,
};
