/*
 * What the mail child may do: the one place that says it. It parses what strangers wrote, so it gets the
 * vault, the network towards the mail server, what name resolution and TLS read, and nothing else: no file of
 * the employee, no program, no other process. Called once, before the child has a second thread.
 */
#ifndef SATCHEL_AGENT_MAIL_CONFINE_H
#define SATCHEL_AGENT_MAIL_CONFINE_H

#include "platform/linux/sandbox.h"

#include <stdint.h>

/*
 * `vault`: the open vault, which must be there now; NULL for a child that only tries a login. `port`: the
 * only one to connect to (and DNS); 0: any. ERR_SYSTEM: the child must not go on. Where the kernel enforces
 * less, it says so in *ret.
 */
int confine_enter(const char *vault, uint16_t port, struct sandbox_state *ret);

#endif
