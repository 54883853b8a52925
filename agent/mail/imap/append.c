#include "agent/mail/imap/command.h"
#include "agent/mail/imap/date.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"

#define PIECE ((size_t)32 << 10)

/* Whether the server is asked before the message is sent. */
static bool append_asks(const struct imap_session *s, uint64_t size) {
    if (s->capabilities & IMAP_CAP_LITERAL_PLUS)
        return size >= IMAP_APPEND_ASK;
    return !(s->capabilities & IMAP_CAP_LITERAL_MINUS) || size > IMAP_LITERAL_MINUS_MAX;
}

/* Waits for "+". A tagged answer is a refusal. */
static int append_wait(struct imap_session *s) {
    int r;
    do
        r = imap_next(s, -1);
    while (r > 0 && r != IMAP_NEXT_DONE && r != IMAP_NEXT_CONTINUE);
    if (r != IMAP_NEXT_DONE)
        return r < 0 ? r : 0;
    return s->result == IMAP_OK ? err_set(ERR_PROTOCOL, "the mail server took a message before it was sent")
                                : (int)s->result;
}

int imap_append_begin(struct imap_session *s, const char *quoted, const char *flags, int64_t seconds,
                      uint64_t size) {
    cleanup(buf) struct buf line = {0};
    char date[IMAP_DATE_TIME_SIZE];
    bool asks = append_asks(s, size);
    int r = buf_printf(&line, "APPEND %s (%s) \"%s\" {%llu%s}\r\n", quoted, flags,
                       imap_date_time(seconds, date), (unsigned long long)size, asks ? "" : "+");
    if (r == 0)
        r = imap_command_send(s, IMAP_KIND_APPEND, line.data);
    if (r == 0 && asks)
        r = append_wait(s);
    s->appending = r == 0;
    return r;
}

/* In pieces that a slow line takes in time. */
int imap_append_data(struct imap_session *s, const char *data, size_t n) {
    int r = 0;
    for (size_t now = 0; r == 0 && n > 0; data += now, n -= now) {
        now = n < PIECE ? n : PIECE;
        r = imap_connection_send(s->connection, data, now, clock_boot_ms() + IMAP_ANSWER_MS);
    }
    return r;
}

int imap_append_end(struct imap_session *s) {
    int r = imap_append_data(s, "\r\n", 2);
    if (r == 0)
        s->appending = false;
    return r;
}
