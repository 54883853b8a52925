#include "agent/mail/sync/hook.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

/* Kills the process after the N-th durable step, N from SATCHEL_TEST_CRASH_AT. Linked into test programs
 * alone. */
void mail_hook_step(void) {
    static long done;
    const char *at = getenv("SATCHEL_TEST_CRASH_AT");
    done++;
    if (at && strtol(at, NULL, 10) == done)
        (void)kill(getpid(), SIGKILL);
}
