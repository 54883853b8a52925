#include "agent/wipe/wipe_journal.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

/* Kills the process after the N-th durable step, N from SATCHEL_TEST_CRASH_AT. Linked into test programs
 * alone. */
void wipe_hook_saved(void) {
    static long saved;
    const char *at = getenv("SATCHEL_TEST_CRASH_AT");
    saved++;
    if (at && strtol(at, NULL, 10) == saved)
        (void)kill(getpid(), SIGKILL);
}
