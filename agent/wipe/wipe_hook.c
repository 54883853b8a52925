#include "agent/wipe/wipe_journal.h"

void wipe_hook_saved(void) {
}
