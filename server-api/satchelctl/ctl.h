/*
 * What the verbs work with: the parsed command line and the connection to the admin API. One file a verb
 * group; main.c has the table of them.
 */
#ifndef SATCHEL_CTL_H
#define SATCHEL_CTL_H

#include "server-api/satchelctl/client.h"

#include <stdbool.h>

/* What stands behind a verb. Borrowed from argv. */
struct ctl_args {
    int n;
    char **words; /* without the verb */
    const char *address, *name, *expires, *reason, *wait, *output;
    bool abandon;
};

/* Bits of `ctl_verb.options`: which of them a verb understands. */
enum ctl_option {
    CTL_ADDRESS = 1,
    CTL_NAME = 2,
    CTL_EXPIRES = 4,
    CTL_REASON = 8,
    CTL_WAIT = 16,
    CTL_OUTPUT = 32,
    CTL_ABANDON = 64,
    CTL_OFFLINE = 1 << 16, /* no option: the verb needs the CA's certificate and no server */
};

struct ctl {
    struct client *client; /* NULL for a verb that needs no server */
    const char *dir, *ca;  /* for such a verb: one of them */
    bool json;
};

typedef int ctl_run(struct ctl *ctl, const struct ctl_args *args);

ctl_run ctl_user_add, ctl_user_import, ctl_user_list, ctl_profile_publish, ctl_profile_list, ctl_profile_show,
    ctl_enroll_code_create, ctl_device_list, ctl_device_show, ctl_device_delete, ctl_wipe, ctl_lock,
    ctl_unlock, ctl_order_show, ctl_receipt_list, ctl_receipt_show, ctl_receipt_verify, ctl_audit_list,
    ctl_audit_verify, ctl_token_create, ctl_token_list, ctl_token_revoke;

#endif
