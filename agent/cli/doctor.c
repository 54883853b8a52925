/* satchel doctor: what is well on this device, what is not, and what to do about it. Changes nothing. */
#include "agent/cli/cli.h"
#include "agent/cli/examine.h"
#include "agent/state/device.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"

#include <fcntl.h>
#include <stdio.h>

struct doctor {
    cJSON *findings; /* for --json, else NULL */
    int attention;
    bool broken; /* a finding could not be kept */
};

static void doctor_print(const char *what, enum examine_state state, const char *text, const char *advice) {
    static const char *const marks[] = {
        [EXAMINE_OK] = "ok", [EXAMINE_HINT] = "hint", [EXAMINE_ATTENTION] = "!!"};
    (void)printf("%-5s %-11s %s\n", marks[state], what, cli_safe(text));
    if (advice)
        (void)printf("%-17s -> %s\n", "", cli_safe(advice));
}

static void doctor_tell(void *userdata, const char *what, enum examine_state state, const char *text,
                        const char *advice) {
    struct doctor *d = userdata;
    d->attention += state == EXAMINE_ATTENTION;
    if (!d->findings) {
        doctor_print(what, state, text, advice);
        return;
    }
    cJSON *finding = cJSON_CreateObject();
    int r = json_add_str(finding, "what", what) | json_add_str(finding, "state", examine_state_name(state)) |
            json_add_str(finding, "text", text);
    if (advice)
        r |= json_add_str(finding, "advice", advice);
    if (r < 0 || !cJSON_AddItemToArray(d->findings, finding)) {
        cJSON_Delete(finding);
        d->broken = true;
    }
}

/* Whether this device belongs to an organization, as far as the disk tells. */
static bool doctor_enrolled(const struct paths *paths) {
    cleanup(device) struct device device = {0};
    cleanup(fd) int dir = open(paths->state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return dir >= 0 && device_load(dir, &device) == 0 && device.state != DEVICE_UNENROLLED;
}

/* NULL where satcheld does not run: it is not started for this. */
static cJSON *doctor_status(void) {
    cleanup(cli_agent) struct cli_agent a = {.fd = -1};
    cJSON *status = NULL;
    return cli_connect(false, &a) == 0 && cli_call(&a, "status", NULL, NULL, &status) == 0 ? status : NULL;
}

static int doctor_run(int argc, char **argv, bool json) {
    struct paths paths;
    struct doctor d = {.attention = 0};
    cleanup(cJSON) cJSON *status = NULL, *document = json ? cJSON_CreateObject() : NULL;
    int r = cli_arguments(argc, argv, 0, 0);
    if (r == 0)
        r = paths_find(&paths);
    if (r == 0 && json)
        r = json_add_item(document, "findings", d.findings = cJSON_CreateArray());
    if (r < 0)
        return cli_fail(r, json);
    status = doctor_status();
    examine_all(&(struct examine){.paths = &paths,
                                  .status = status,
                                  .enrolled = status || doctor_enrolled(&paths),
                                  .tell = doctor_tell,
                                  .userdata = &d});
    if (json && (d.broken || json_add_bool(document, "ok", d.attention == 0) < 0))
        return cli_fail(err_set(ERR_SYSTEM, "out of memory"), json);
    if (json && cli_print(document) < 0)
        return 1;
    if (!json)
        (void)printf("\n%s\n",
                     d.attention ? "Something needs attention: see the lines with !!" : "All is well.");
    return d.attention ? 1 : 0;
}

const struct cli_verb cli_doctor = {
    .name = "doctor",
    .arguments = "",
    .summary =
        "Look at what Satchel needs on this device and say what to do where something is missing. Changes "
        "nothing; exit status 1 when something needs attention.",
    .run = doctor_run,
};
