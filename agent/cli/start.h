/*
 * Starting satcheld for a `satchel` that does not find it: by the user's service manager where that knows the
 * unit, else as a process of its own that outlives the terminal.
 */
#ifndef SATCHEL_CLI_START_H
#define SATCHEL_CLI_START_H

#include "platform/linux/paths.h"

/* Returns when satcheld listens. ERR_UNREACHABLE with the reason it gave. */
int start_agent(const struct paths *paths);

#endif
