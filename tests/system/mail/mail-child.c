/* The mail child without satcheld around it. Its socket is descriptor 3. */
#include "agent/mail/mail.h"
#include "platform/base/log.h"

int main(void) {
    log_init("mail-child", LOG_LEVEL_INFO);
    return mail_main(3);
}
