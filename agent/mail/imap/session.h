/*
 * A logged-in IMAP session: sends commands, hands out responses one by one, and keeps what the server says
 * about itself and the selected mailbox. Straight-line use:
 *
 *     r = imap_send(s, "UID FETCH %s (UID FLAGS)", set);
 *     while (r == 0 && (r = imap_next(s, -1)) > 0 && r != IMAP_NEXT_DONE) { ... s->parser ... }
 *     then s->result says OK, NO or BAD.
 *
 * Commands may be pipelined: imap_send() again before the first one is done. Each imap_next() that returns
 * IMAP_NEXT_DONE ends one of them, which s->done names (the number that imap_send() left in s->sent); the
 * server is taken at its word about the order. At most IMAP_PIPELINE_MAX may be open, whose lines together
 * stay below 60 KiB, so that neither side waits for the other to read.
 *
 * One thread. After a negative code the session is good for imap_session_close() alone.
 */
#ifndef SATCHEL_AGENT_MAIL_IMAP_SESSION_H
#define SATCHEL_AGENT_MAIL_IMAP_SESSION_H

#include "agent/mail/imap/connection.h"
#include "agent/mail/imap/parser.h"
#include "agent/mail/imap/uidset.h"

#define IMAP_PIPELINE_MAX 64
#define IMAP_LITERAL_MINUS_MAX 4096         /* RFC 7888 section 5: bytes of a non-synchronizing literal */
#define IMAP_APPEND_ASK ((uint64_t)1 << 20) /* from here on the server is asked ("{n}") before it is sent */
#define IMAP_COPY_RANGES_MAX 4096           /* of a COPYUID */

enum imap_capability {
    IMAP_CAP_IDLE = 1 << 0,          /* RFC 2177 */
    IMAP_CAP_UIDPLUS = 1 << 1,       /* RFC 4315 */
    IMAP_CAP_CONDSTORE = 1 << 2,     /* RFC 7162 */
    IMAP_CAP_QRESYNC = 1 << 3,       /* RFC 7162 */
    IMAP_CAP_ENABLE = 1 << 4,        /* RFC 5161 */
    IMAP_CAP_MOVE = 1 << 5,          /* RFC 6851 */
    IMAP_CAP_LITERAL_PLUS = 1 << 6,  /* RFC 7888 */
    IMAP_CAP_LITERAL_MINUS = 1 << 7, /* RFC 7888 */
    IMAP_CAP_SPECIAL_USE = 1 << 8,   /* RFC 6154 */
    IMAP_CAP_LIST_EXTENDED = 1 << 9, /* RFC 5258 */
    IMAP_CAP_LIST_STATUS = 1 << 10,  /* RFC 5819 */
    IMAP_CAP_NOTIFY = 1 << 11,       /* RFC 5465 */
    IMAP_CAP_COMPRESS = 1 << 12,     /* RFC 4978, COMPRESS=DEFLATE */
    IMAP_CAP_ID = 1 << 13,           /* RFC 2971 */
    IMAP_CAP_ESEARCH = 1 << 14,      /* RFC 4731 */
    IMAP_CAP_UTF8 = 1 << 15,         /* RFC 6855, UTF8=ACCEPT or UTF8=ONLY */
    IMAP_CAP_OBJECTID = 1 << 16,     /* RFC 8474 */
    IMAP_CAP_UNSELECT = 1 << 17,     /* RFC 3691 */
};

enum imap_next {
    IMAP_NEXT_UNTAGGED = 1, /* a response is in `parser` */
    IMAP_NEXT_CONTINUE,     /* "+" */
    IMAP_NEXT_DONE,         /* a command is over: see `done`, `result`, `code` */
    IMAP_NEXT_LITERAL,      /* as IMAP_EVENT_LITERAL; only where `stream` is set */
    IMAP_NEXT_DATA,         /* as IMAP_EVENT_DATA */
    IMAP_NEXT_WATCH,        /* the watched descriptor is readable */
};

enum imap_result { IMAP_OK = 0, IMAP_NO = 1, IMAP_BAD = 2 };

/* The code in the brackets of the tagged response (RFC 3501 section 7.1, RFC 5530), where it changes what is
 * to be done. */
enum imap_code {
    IMAP_CODE_NONE,        /* none, or another one */
    IMAP_CODE_TRYCREATE,   /* the mailbox does not exist, and may be made */
    IMAP_CODE_NONEXISTENT, /* RFC 5530 */
    IMAP_CODE_ALREADYEXISTS,
    IMAP_CODE_NOPERM,
    IMAP_CODE_CANNOT,
    IMAP_CODE_OVERQUOTA, /* RFC 5530, RFC 9208 */
    IMAP_CODE_TOOBIG,    /* RFC 7889 */
    IMAP_CODE_BUSY,      /* UNAVAILABLE, INUSE, LIMIT, or a text that names a backoff: see `backoff_ms` */
    IMAP_CODE_CORRUPTION,
};

/* APPENDUID and COPYUID (RFC 4315 section 3), of the APPEND, COPY or MOVE that was done last: from its tagged
 * OK, or from an untagged one while no other of its kind is open. `uidvalidity` 0: not told, or malformed.
 * For COPYUID `from` and `to` are paired in the order in which they are written; they have equally many UIDs,
 * or they are not told. */
struct imap_copied {
    uint32_t uidvalidity;
    uint32_t uid; /* of APPENDUID, 0: none */
    struct uidset from, to;
};

/* A command without its tagged response. */
struct imap_open {
    unsigned number;
    unsigned kinds; /* bits of imap_kind (command.h) */
};

struct imap_session {
    struct imap_connection *connection; /* owned */
    struct imap_parser parser;
    unsigned capabilities; /* bits of imap_capability: offered after the login */
    unsigned enabled; /* of these what the server said that it enabled (untagged ENABLED), plus COMPRESS */
    unsigned sent;    /* number of the last command that was sent */
    unsigned done;    /* of the last one that is over */
    enum imap_result result;
    enum imap_code code;
    int64_t backoff_ms; /* how long the server wants to be left alone; 0: it did not say */
    char text[200];     /* printable: what the server said with it */
    bool stream;        /* long literals are expected (bodies) */
    int64_t deadline; /* while it is not 0: clock_boot_ms() at which imap_next() gives up with ERR_TIMEOUT */
    int64_t rtt_ms;   /* of the CAPABILITY command at the start */
    struct imap_copied copied;
    uint64_t append_limit; /* APPENDLIMIT=n (RFC 7889), 0: not told */

    /* Called, where it is set, for every untagged STATUS and LIST response and for an OK with
     * [NOTIFICATIONOVERFLOW], whatever command runs; imap_next() hands them out as well. Must not use the
     * session. */
    void (*on_mailbox)(void *ctx, const struct imap_parser *p);
    void *ctx;

    /* the selected mailbox */
    bool read_only;
    bool changed;    /* something happened to it that no command of ours asked for, since it was selected or
                        the caller cleared this: another EXISTS; EXPUNGE or VANISHED with no EXPUNGE or MOVE
                        open; FETCH with no FETCH or STORE open */
    bool no_modseq;  /* NOMODSEQ */
    uint32_t exists; /* messages */
    uint32_t uidvalidity; /* 0: not told */
    uint64_t object;      /* a number made of MAILBOXID (RFC 8474); 0: not told */
    uint32_t uidnext;     /* 0: not told */
    uint64_t modseq;      /* HIGHESTMODSEQ as SELECT told it, 0: none */
    unsigned permanent;   /* system flags that can be kept, as bits of imap_flag; all when not told */
    bool permanent_any;   /* PERMANENTFLAGS holds \*, or was not told: new keywords can be made */
    struct buf keywords;  /* the keywords in PERMANENTFLAGS, each ended by NUL */

    /* private */
    struct imap_open open[IMAP_PIPELINE_MAX + 1]; /* commands, oldest first */
    unsigned n_open;
    unsigned asked;    /* bits of imap_capability in our ENABLE */
    bool selected;     /* a mailbox is selected */
    bool leaving;      /* what comes about a mailbox is about the one that is being left */
    bool told;         /* on_mailbox had a reason */
    bool appending;    /* what is sent is taken for a part of the message */
    bool copied_fresh; /* `copied` came with a command that is still open */
    uint64_t answers;  /* responses since a command was sent or done */
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

enum imap_compress {
    IMAP_COMPRESS_AUTO, /* where the line is slower than the processor: a round trip of 5 ms or more */
    IMAP_COMPRESS_ALWAYS,
    IMAP_COMPRESS_NEVER,
};

/*
 * Connects, logs in, asks for the capabilities, says who it is (ID: name and version, no more), enables
 * QRESYNC, else CONDSTORE, and UTF8=ACCEPT where they are offered, and COMPRESS. What counts afterwards is
 * `enabled`. Errors as imap_connection_open().
 */
int imap_session_open(const struct imap_endpoint *endpoint, enum imap_compress compress, int cancel,
                      int64_t deadline, struct imap_session **ret);

/* Says LOGOUT where that is possible at once, and closes. NULL is allowed. */
void imap_session_logout(struct imap_session *s);
void imap_session_close(struct imap_session *s);

/* Sends one command line (tag and line end are added). Whoever writes the format has quoted the strings. */
int imap_send(struct imap_session *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The same for a line that is ready. */
int imap_send_line(struct imap_session *s, const char *line);

/* How many commands are open. */
unsigned imap_open_commands(const struct imap_session *s);

/* The next event of the open commands, an imap_next. Negative: the session is over (also BYE). */
int imap_next(struct imap_session *s, int watch);

/* Sends a command, with no other one open, and passes over everything up to its end. An imap_result or
 * negative. */
int imap_command(struct imap_session *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Reads on until no command is open, passing over everything. An imap_result, the worst of them, or negative.
 */
int imap_drain(struct imap_session *s);

/*
 * Sends SELECT, with no other command open; the caller reads on with imap_next() up to IMAP_NEXT_DONE. Where
 * `uidvalidity` and `modseq` are not 0 and QRESYNC is enabled, with the QRESYNC parameter (RFC 7162 section
 * 3.2.5): VANISHED (EARLIER) and FETCH responses follow, which belong to the new mailbox. Where a mailbox was
 * selected before, it is left first (UNSELECT, or what comes before [CLOSED] is dropped), so that no response
 * about the old one is handed out.
 */
int imap_select_send(struct imap_session *s, const char *quoted, uint32_t uidvalidity, uint64_t modseq);

/* The same without the parameter, passing over everything. An imap_result or negative. */
int imap_select(struct imap_session *s, const char *quoted);

/*
 * APPEND (RFC 3501 section 6.3.11). `flags` is a parenthesized list without its parentheses, or "". `seconds`
 * is INTERNALDATE in UTC. imap_append_begin() sends the head and, where the server wants to be asked (no
 * LITERAL+/-, or a message of IMAP_APPEND_ASK or more bytes), waits until it may go on: then no other command
 * may be open. 0: send exactly `size` bytes with imap_append_data(), then imap_append_end(); the answer comes
 * through imap_next() or imap_drain(). IMAP_NO or IMAP_BAD: refused before anything was sent, and over.
 * A plain literal also with UTF8=ACCEPT: a message with 8-bit headers is then up to the server.
 */
int imap_append_begin(struct imap_session *s, const char *quoted, const char *flags, int64_t seconds,
                      uint64_t size);
int imap_append_data(struct imap_session *s, const char *data, size_t n);
int imap_append_end(struct imap_session *s);

/*
 * IDLE until the mailbox changes, on_mailbox has a reason, `watch` becomes readable or `deadline` passes,
 * then DONE. Where the machine slept meanwhile, it ends as well, and the server has ten seconds to show that
 * the connection lives on. 0, IMAP_NO or IMAP_BAD where the server does not want to (also where it ends IDLE
 * by itself, with nothing new), or negative; ERR_UNREACHABLE for a connection that did not survive the sleep.
 */
int imap_idle(struct imap_session *s, int watch, int64_t deadline);

/*
 * NOTIFY SET (RFC 5465) for all personal mailboxes, and for the selected one without delay. 0: from now on
 * on_mailbox tells what happens elsewhere. IMAP_NO, IMAP_BAD, or negative.
 */
int imap_notify(struct imap_session *s);

/*
 * With NOTIFY set, where there is no IDLE: waits, with no command open, until `changed` is set, on_mailbox
 * has a reason, `watch` is readable or `deadline` passes; after a sleep of the machine as imap_idle(). Where
 * there is IDLE, that is better: outside of it, Dovecot 2.3 misses what happens to the selected mailbox
 * within a second of the last command. 0 or negative.
 */
int imap_wait(struct imap_session *s, int watch, int64_t deadline);

/*
 * Mailbox names. Inside the agent they are always modified UTF-7; on a connection with UTF8=ACCEPT they are
 * UTF-8 (RFC 6855 section 3). imap_quote() appends the quoted name for a command; ERR_INVALID for what it
 * cannot hold (NUL, CR, LF, 8-bit). imap_mailbox() appends the modified UTF-7 of a name that the server sent;
 * ERR_INVALID where it is malformed.
 */
int imap_quote(const struct imap_session *s, const char *mailbox, size_t n, struct buf *ret);
int imap_mailbox(const struct imap_session *s, const char *name, size_t n, struct buf *ret);

/* The bits of a parenthesized flag list; \Recent and keywords are passed over. */
unsigned imap_flags(const struct imap_parser *p, const struct imap_node *list);

/* Appends "\Seen \Flagged" for the bits. */
int imap_flags_write(unsigned flags, struct buf *ret);

/* Whether the response is "* NUMBER WORD ..." (FETCH, EXISTS, ...); *ret is the number. */
bool imap_is_numbered(const struct imap_parser *p, const char *word, uint64_t *ret);

/* How long a text says that the server wants to be left alone, in ms, at most a day; 0: it does not say. */
int64_t imap_backoff(const char *text);

/* Whether the response is VANISHED (RFC 7162 section 3.2.10); its set is added to `ret` (initialized by the
 * caller), and *ret_earlier tells of (EARLIER). ERR_PROTOCOL for a malformed set; 0: another response; 1:
 * yes.
 */
int imap_vanished(const struct imap_parser *p, bool *ret_earlier, struct uidset *ret);

/* The value behind `key` in the attribute list that is the node at `list`, or NULL. */
const struct imap_node *imap_attribute(const struct imap_parser *p, uint32_t list, const char *key);

#endif
