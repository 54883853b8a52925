#include "agent/mail/sync/hook.h"

void mail_hook_step(void) {
}
