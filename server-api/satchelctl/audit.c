/* audit list | verify */
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/base/json.h"
#include "server-api/satchelctl/ctl.h"
#include "server-api/satchelctl/output.h"

#include <stdio.h>

int ctl_audit_list(struct ctl *ctl, const struct ctl_args *args) {
    static const char *const columns[] = {"sequence", "at", "actor", "action", "subject", "detail", NULL};
    if (args->n != 0)
        return err_set(ERR_USAGE, "audit list takes no arguments");
    cleanup(cJSON) cJSON *answer = NULL;
    int r = client_list(ctl->client, "/v1/admin/audit", "entries", &answer);
    if (r < 0)
        return r;
    return ctl->json ? output_json(answer) : output_table(json_array(answer, "entries"), columns);
}

int ctl_audit_verify(struct ctl *ctl, const struct ctl_args *args) {
    if (args->n != 0)
        return err_set(ERR_USAGE, "audit verify takes no arguments");
    cleanup(cJSON) cJSON *answer = NULL;
    int r = client_get(ctl->client, "/v1/admin/audit/verify", &answer);
    if (r < 0)
        return r;
    bool ok = json_bool(answer, "ok", false);
    if (ctl->json)
        r = output_json(answer);
    else if (ok)
        (void)printf("%lld entries, unbroken; head %s\n", (long long)json_int(answer, "entries", 0),
                     json_str(answer, "head") ? json_str(answer, "head") : "?");
    if (r < 0 || ok)
        return r;
    return err_set(ERR_WRONG_STATE, "the audit log is broken at entry %lld",
                   (long long)json_int(answer, "first_broken", 0));
}
