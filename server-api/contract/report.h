/*
 * The report: what a device tells of itself. One table says what can be in it, and nothing else is: the agent
 * makes the report from it, the server keeps what it names, and `satchel privacy` shows it to the employee.
 * Beside these members a report carries word of orders ("orders": [{"id", "state", "text"}]).
 */
#ifndef SATCHEL_CONTRACT_REPORT_H
#define SATCHEL_CONTRACT_REPORT_H

#include <cjson/cJSON.h>

#define REPORT_TEXT_MAX 500 /* bytes of a text */

enum report_field {
    REPORT_AGENT_VERSION,
    REPORT_OS,
    REPORT_STATE,
    REPORT_PROFILE_ID,
    REPORT_PROFILE_VERSION,
    REPORT_PROBLEM_VERSION,
    REPORT_PROBLEM_TEXT,
    REPORT_ACCOUNT_IMAP,
    REPORT_VAULT_DRIVER,
    REPORT_VAULT_OPEN,
    REPORT_KEYRING_AVAILABLE,
    REPORT_KEYRING_LOCKED,
    REPORT_FIELDS
};

enum report_type { REPORT_TEXT, REPORT_NUMBER, REPORT_YES_NO };

struct report_member {
    const char *object, *key; /* `object` NULL: a member of the report itself */
    enum report_type type;
    const char *words; /* what it tells, for the employee */
};

extern const struct report_member report_members[REPORT_FIELDS];

/* What a device tells of itself when it is enrolled ("device" of POST /v1/enroll), once. */
enum enroll_field { ENROLL_NAME, ENROLL_OS, ENROLL_AGENT_VERSION, ENROLL_FIELDS };

extern const struct report_member enroll_members[ENROLL_FIELDS];

/* Puts a field into a report; takes over `value`, NULL: it is not known and stays away. */
int report_set(cJSON *report, enum report_field field, cJSON *value);

/* The known members of a report, checked. ERR_INVALID. The caller's. */
int report_normalize(const cJSON *report, cJSON **ret);

#endif
