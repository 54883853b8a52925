/*
 * The open commands of a session: what was sent, what each of them may bring, and whose tag a response bears.
 * For the files of this folder alone.
 */
#ifndef SATCHEL_AGENT_MAIL_IMAP_COMMAND_H
#define SATCHEL_AGENT_MAIL_IMAP_COMMAND_H

#include "agent/mail/imap/session.h"

#define IMAP_ANSWER_MS 60000 /* silence of the server during a command */

enum imap_kind {
    IMAP_KIND_FETCH = 1 << 0,   /* FETCH and STORE: flags are told because we asked */
    IMAP_KIND_APPEND = 1 << 1,  /* may bring APPENDUID */
    IMAP_KIND_COPY = 1 << 2,    /* COPY and MOVE: may bring COPYUID */
    IMAP_KIND_EXPUNGE = 1 << 3, /* EXPUNGE and MOVE: messages go because we asked */
    IMAP_KIND_SELECT = 1 << 4,  /* and EXAMINE */
    IMAP_KIND_LEAVE = 1 << 5,   /* CLOSE and UNSELECT */
    IMAP_KIND_ENABLE = 1 << 6,
    IMAP_KIND_HIDDEN = 1 << 7, /* sent by the session for itself: its end is not handed out */
};

/* What a command line (without its tag) is. */
unsigned imap_command_kinds(const char *line);

/* Notes a command as sent, under the next number. ERR_WRONG_STATE when too many are open. */
int imap_command_open(struct imap_session *s, unsigned kinds);

/* Notes the command with that tag as done and gives what it was. ERR_PROTOCOL when it is not open. */
int imap_command_close(struct imap_session *s, const char *tag, unsigned *ret_kinds);

/* How many open commands are of one of the kinds. */
unsigned imap_command_count(const struct imap_session *s, unsigned kinds);

/* Sends "TAG line", noted as open. The caller has written the line's end. */
int imap_command_send(struct imap_session *s, unsigned kinds, const char *line);

#endif
