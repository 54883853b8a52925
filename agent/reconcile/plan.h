/*
 * The plan: what must be done to get from the device as it is to the device as its profile wishes it. Pure:
 * facts in, steps out, in the order in which they are to be taken. apply.c takes them; after each failure the
 * facts are looked at again.
 */
#ifndef SATCHEL_RECONCILE_PLAN_H
#define SATCHEL_RECONCILE_PLAN_H

#include <stdbool.h>
#include <stddef.h>

struct plan_facts {
    bool managed;    /* enrolled, and not locked or being wiped */
    bool profile;    /* one is in force */
    bool credential; /* the mail password is in the keyring */
    bool vault_exists;
    bool vault_open;
    bool mail_running;
    bool mail_current; /* the mail child has the profile and credential that are in force */
};

enum plan_step {
    PLAN_STOP_MAIL,
    PLAN_CLOSE_VAULT,
    PLAN_CREATE_VAULT,
    PLAN_OPEN_VAULT,
    PLAN_START_MAIL,
    PLAN_STEPS
};

const char *plan_step_name(enum plan_step step);

/* Writes at most PLAN_STEPS steps; returns their number, 0 when wish and reality agree. */
size_t plan_reconcile(const struct plan_facts *facts, enum plan_step ret[PLAN_STEPS]);

#endif
