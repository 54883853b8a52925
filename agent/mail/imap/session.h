/*
 * A logged-in IMAP session: sends commands, hands out responses one by one, and keeps what the server says
 * about itself and the selected mailbox. Straight-line use:
 *
 *     r = imap_send(s, "UID FETCH %s (UID FLAGS)", set);
 *     while (r == 0 && (r = imap_next(s, -1)) > 0 && r != IMAP_NEXT_DONE) { ... s->parser ... }
 *     then s->result says OK, NO or BAD.
 *
 * One command at a time; one thread. After a negative code the session is good for imap_session_close()
 * alone.
 */
#ifndef SATCHEL_AGENT_MAIL_IMAP_SESSION_H
#define SATCHEL_AGENT_MAIL_IMAP_SESSION_H

#include "agent/mail/imap/connection.h"
#include "agent/mail/imap/parser.h"

enum imap_capability {
    IMAP_CAP_IDLE = 1 << 0,      /* RFC 2177 */
    IMAP_CAP_UIDPLUS = 1 << 1,   /* RFC 4315 */
    IMAP_CAP_CONDSTORE = 1 << 2, /* RFC 7162 */
};

enum imap_next {
    IMAP_NEXT_UNTAGGED = 1, /* a response is in `parser` */
    IMAP_NEXT_CONTINUE,     /* "+" */
    IMAP_NEXT_DONE,         /* the command is over: see `result` */
    IMAP_NEXT_LITERAL,      /* as IMAP_EVENT_LITERAL; only where `stream` is set */
    IMAP_NEXT_DATA,         /* as IMAP_EVENT_DATA */
    IMAP_NEXT_WATCH,        /* the watched descriptor is readable */
};

enum imap_result { IMAP_OK = 0, IMAP_NO = 1, IMAP_BAD = 2 };

struct imap_session {
    struct imap_connection *connection; /* owned */
    struct imap_parser parser;
    unsigned capabilities; /* bits of imap_capability */
    enum imap_result result;
    char text[200];   /* printable: what the server said with it */
    bool stream;      /* long literals are expected (bodies) */
    int64_t deadline; /* while it is not 0: clock_boot_ms() at which imap_next() gives up with ERR_TIMEOUT */

    /* the selected mailbox */
    bool read_only;
    bool changed;         /* something happened to it that no command of ours asked for */
    uint32_t exists;      /* messages */
    uint32_t uidvalidity; /* 0: not told */
    uint32_t uidnext;     /* 0: not told */
    uint64_t modseq;      /* HIGHESTMODSEQ, 0: none */
    unsigned permanent;   /* flags that can be kept, as bits of imap_flag; all when not told */

    /* private */
    unsigned tag;
    uint32_t budget; /* responses that the running command may still bring */
    size_t start, end;
    char in[65536];
};

/* The system flags. The order is that of the Maildir letters D F R S T. */
enum imap_flag {
    IMAP_DRAFT = 1 << 0,
    IMAP_FLAGGED = 1 << 1,
    IMAP_ANSWERED = 1 << 2,
    IMAP_SEEN = 1 << 3,
    IMAP_DELETED = 1 << 4,
    IMAP_FLAGS_ALL = 31,
};

/* Connects, logs in and asks for the capabilities. Errors as imap_connection_open(). */
int imap_session_open(const struct imap_endpoint *endpoint, int cancel, int64_t deadline,
                      struct imap_session **ret);

/* Says LOGOUT where that is possible at once, and closes. NULL is allowed. */
void imap_session_logout(struct imap_session *s);
void imap_session_close(struct imap_session *s);

/* Sends one command line (tag and line end are added). Whoever writes the format has quoted the strings. */
int imap_send(struct imap_session *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The next event of the running command, an imap_next. Negative: the session is over (also BYE). */
int imap_next(struct imap_session *s, int watch);

/* Sends a command and passes over everything up to its end. An imap_result or negative. */
int imap_command(struct imap_session *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* SELECT. `quoted` as by imap_quote(). An imap_result or negative. */
int imap_select(struct imap_session *s, const char *quoted);

/* IDLE until the mailbox changes, `watch` becomes readable or `deadline` passes, then DONE. 0, IMAP_NO or
 * IMAP_BAD where the server does not want to, or negative. */
int imap_idle(struct imap_session *s, int watch, int64_t deadline);

/* Appends a quoted string. ERR_INVALID for what a quoted string cannot hold (NUL, CR, LF, 8-bit). */
int imap_quote(const char *text, size_t n, struct buf *ret);

/* The bits of a parenthesized flag list; \Recent and keywords are passed over. */
unsigned imap_flags(const struct imap_parser *p, const struct imap_node *list);

/* Appends "\Seen \Flagged" for the bits. */
int imap_flags_write(unsigned flags, struct buf *ret);

/* Whether the response is "* NUMBER WORD ..." (FETCH, EXISTS, ...); *ret is the number. */
bool imap_is_numbered(const struct imap_parser *p, const char *word, uint64_t *ret);

/* The value behind `key` in the attribute list that is the node at `list`, or NULL. */
const struct imap_node *imap_attribute(const struct imap_parser *p, uint32_t list, const char *key);

#endif
