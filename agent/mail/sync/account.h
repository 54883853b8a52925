/*
 * The mail account as the supervisor sends it (ACCOUNT of mail.h). The password lies in locked memory that no
 * core dump holds, and is cleared when the account is destroyed.
 */
#ifndef SATCHEL_AGENT_MAIL_SYNC_ACCOUNT_H
#define SATCHEL_AGENT_MAIL_SYNC_ACCOUNT_H

#include "agent/mail/imap/session.h"

#include <cjson/cJSON.h>

struct account {
    struct imap_endpoint endpoint; /* its texts are owned */
    enum imap_compress compress;
};

/* ERR_INVALID for a member that is missing, too long or of another type, and for a connection without TLS. */
int account_parse(const cJSON *json, struct account **ret);

/* NULL is allowed. */
void account_destroy(struct account *a);

#endif
