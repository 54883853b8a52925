#include "agent/reconcile/plan.h"

const char *plan_step_name(enum plan_step step) {
    static const char *const names[PLAN_STEPS] = {[PLAN_STOP_MAIL] = "stop mail",
                                                  [PLAN_CLOSE_VAULT] = "close vault",
                                                  [PLAN_CREATE_VAULT] = "create vault",
                                                  [PLAN_OPEN_VAULT] = "open vault",
                                                  [PLAN_START_MAIL] = "start mail"};
    return names[step];
}

size_t plan_reconcile(const struct plan_facts *facts, enum plan_step ret[PLAN_STEPS]) {
    size_t n = 0;
    bool vault = facts->managed && facts->profile;
    bool mail = vault && facts->credential;
    if (facts->mail_running && (!mail || !facts->vault_open))
        ret[n++] = PLAN_STOP_MAIL;
    if (facts->vault_open && !facts->managed)
        ret[n++] = PLAN_CLOSE_VAULT;
    if (vault && !facts->vault_exists)
        ret[n++] = PLAN_CREATE_VAULT;
    if (vault && !facts->vault_open)
        ret[n++] = PLAN_OPEN_VAULT;
    if (mail && (!facts->mail_running || !facts->mail_current || !facts->vault_open))
        ret[n++] = PLAN_START_MAIL;
    return n;
}
