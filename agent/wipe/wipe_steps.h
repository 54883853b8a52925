/*
 * The steps of a wipe, in their order. Each may be run at any time and any number of times: it looks at what
 * is there. Used by wipe.c alone; see wipe.h.
 */
#ifndef SATCHEL_WIPE_STEPS_H
#define SATCHEL_WIPE_STEPS_H

#include "agent/wipe/wipe.h"

struct wipe_run {
    const struct wipe_target *target;
    cJSON *journal;
    char detail[512]; /* what the step has to tell; no name of a message */
};

struct wipe_step {
    const char *name;
    int (*run)(struct wipe_run *w); /* 0, WIPE_NOTHING, or an error with its text */
};

extern const struct wipe_step wipe_steps[];
extern const size_t wipe_steps_n;

/* True when nothing of a finished wipe has come back. A keyring that does not answer now is no sign of that.
 */
bool wipe_steps_look(const struct wipe_target *target);

#define WIPE_STEP_DESTROY_KEY "destroy-key"

#endif
