/*
 * What `satchel doctor` looks at. A finding is a fact about this device in a sentence, and where somebody can
 * better it, what to do. Nothing is changed by looking, but for a probe directory that is made and removed
 * where a vault is still to be made.
 */
#ifndef SATCHEL_CLI_EXAMINE_H
#define SATCHEL_CLI_EXAMINE_H

#include "platform/base/json.h"
#include "platform/linux/paths.h"

enum examine_state {
    EXAMINE_OK,
    EXAMINE_HINT,      /* all is well, and could be better */
    EXAMINE_ATTENTION, /* something needs to be done */
};

const char *examine_state_name(enum examine_state state);

struct examine {
    const struct paths *paths;
    const cJSON *status; /* as `satchel status` has it; NULL where satcheld does not run */
    bool enrolled;
    void (*tell)(void *userdata, const char *what, enum examine_state state, const char *text,
                 const char *advice); /* `advice` may be NULL */
    void *userdata;
};

/* Calls tell() for every finding. */
void examine_all(const struct examine *e);

#endif
