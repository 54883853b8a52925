/*
 * Starting satcheld for a `satchel` that does not find it: by the user's service manager where that knows the
 * unit, else as a process of its own that outlives the terminal.
 */
#ifndef SATCHEL_CLI_START_H
#define SATCHEL_CLI_START_H

#include "platform/linux/paths.h"

/* Connects to the satcheld that was started, or to one that somebody else started meanwhile. ERR_UNREACHABLE
 * with the reason. */
int start_agent(const struct paths *paths, int *ret_fd);

#endif
