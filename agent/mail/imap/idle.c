#include "agent/mail/imap/command.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"

#include <time.h>

#define SLICE_MS 60000 /* how often a wait looks whether the machine slept: poll(2) does not count sleep */
#define SLEPT_MS 5000
#define ALIVE_MS 10000 /* for the answer after it did */

/* Why a wait ended, where it was not an error. */
enum { WAIT_NEWS, WAIT_DONE, WAIT_SLEPT };

/* How long the machine has slept since it was started. */
static int64_t slept_ms(void) {
    struct timespec boot = {0}, awake = {0};
    (void)clock_gettime(CLOCK_BOOTTIME, &boot);
    (void)clock_gettime(CLOCK_MONOTONIC, &awake);
    return ((int64_t)boot.tv_sec - awake.tv_sec) * 1000 + (boot.tv_nsec - awake.tv_nsec) / 1000000;
}

/* Waits for news, the descriptor or the deadline; WAIT_DONE when a command ended. */
static int wait_for_news(struct imap_session *s, int watch, int64_t deadline) {
    int64_t slept = slept_ms();
    while (!s->changed && !s->told) {
        int64_t slice = clock_boot_ms() + SLICE_MS;
        s->deadline = slice < deadline ? slice : deadline;
        int r = imap_next(s, watch);
        s->deadline = 0;
        if (r < 0 && r != ERR_TIMEOUT)
            return r;
        if (slept_ms() - slept > SLEPT_MS)
            return WAIT_SLEPT;
        if (r == IMAP_NEXT_DONE)
            return WAIT_DONE;
        if (r == IMAP_NEXT_WATCH || (r == ERR_TIMEOUT && clock_left(deadline) == 0))
            break;
    }
    return WAIT_NEWS;
}

/* Reads up to the end of the open command. After a sleep the answer has to come soon. */
static int wait_answer(struct imap_session *s, bool slept) {
    s->deadline = slept ? clock_boot_ms() + ALIVE_MS : 0;
    int r = imap_drain(s);
    s->deadline = 0;
    if (slept && r == ERR_TIMEOUT)
        return err_set(ERR_UNREACHABLE, "the connection to the mail server did not survive the suspend");
    return r;
}

/* Waits for the "+" of IDLE. IMAP_NO, IMAP_BAD: refused. */
static int idle_begin(struct imap_session *s) {
    int r = imap_send(s, "IDLE");
    while (r == 0) {
        r = imap_next(s, -1);
        if (r == IMAP_NEXT_DONE)
            return s->result == IMAP_OK ? err_set(ERR_PROTOCOL, "the mail server ended IDLE by itself")
                                        : (int)s->result;
        if (r == IMAP_NEXT_UNTAGGED)
            r = 0;
    }
    return r < 0 ? r : 0;
}

static int idle_end(struct imap_session *s, bool slept) {
    int r = imap_connection_send(s->connection, "DONE\r\n", 6,
                                 clock_boot_ms() + (slept ? ALIVE_MS : IMAP_ANSWER_MS));
    return r < 0 ? r : wait_answer(s, slept);
}

int imap_idle(struct imap_session *s, int watch, int64_t deadline) {
    s->told = false;
    int r = idle_begin(s);
    if (r != 0)
        return r;
    r = wait_for_news(s, watch, deadline);
    if (r == ERR_CANCELED) /* so that a LOGOUT may follow */
        (void)imap_connection_send(s->connection, "DONE\r\n", 6, clock_boot_ms() + 1000);
    if (r < 0)
        return r;
    if (r == WAIT_DONE)
        return s->result == IMAP_OK ? IMAP_NO : (int)s->result;
    r = idle_end(s, r == WAIT_SLEPT);
    return r < 0 ? r : 0;
}

/* Not selected-delayed: with that, removals are told with the next command only. The delay is for those who
 * go by message numbers; nobody here does. */
int imap_notify(struct imap_session *s) {
    return imap_command(s, "NOTIFY SET (selected (MessageNew MessageExpunge FlagChange)) "
                           "(personal (MessageNew MessageExpunge FlagChange MailboxName))");
}

int imap_wait(struct imap_session *s, int watch, int64_t deadline) {
    s->told = false;
    s->answers = 0;
    int r = wait_for_news(s, watch, deadline);
    if (r != WAIT_SLEPT)
        return r < 0 ? r : 0;
    r = imap_send(s, "NOOP");
    if (r == 0)
        r = wait_answer(s, true);
    return r < 0 ? r : 0;
}
