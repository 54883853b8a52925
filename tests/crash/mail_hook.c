#include "agent/mail/sync/hook.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

/* Kills the process after the N-th durable step, N from SATCHEL_TEST_CRASH_AT. Linked into test programs
 * alone. */
void mail_hook_step(void) {
    static atomic_long done; /* files are made on a thread of their own */
    const char *at = getenv("SATCHEL_TEST_CRASH_AT");
    long now = ++done;
    if (at && strtol(at, NULL, 10) == now)
        (void)kill(getpid(), SIGKILL);
}
