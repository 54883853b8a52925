/*
 * What a response says about the session: from the tokens in `parser` into the fields of struct imap_session.
 * No input and no output, so that a test and a fuzzer can feed it. For the files of this folder alone.
 */
#ifndef SATCHEL_AGENT_MAIL_IMAP_RESPONSE_H
#define SATCHEL_AGENT_MAIL_IMAP_RESPONSE_H

#include "agent/mail/imap/session.h"

/* Makes the fields those of a session that has heard nothing yet; of zeros. */
void imap_response_init(struct imap_session *s);
void imap_response_finish(struct imap_session *s);

/* Forgets the selected mailbox, before SELECT is sent. */
void imap_response_forget(struct imap_session *s);

/*
 * Takes in the line that the parser has just finished. IMAP_NEXT_UNTAGGED, _CONTINUE or _DONE; 0: it is not
 * to be handed out (about a mailbox that is being left, or the end of a hidden command); ERR_UNREACHABLE for
 * BYE; ERR_PROTOCOL.
 */
int imap_response(struct imap_session *s);

/* Takes in the bracketed code of a status response (code.c). `kinds`: of the command that it ends. */
void imap_response_code(struct imap_session *s, bool tagged, unsigned kinds);

/* The value of `code` for the name of a response code. */
enum imap_code imap_response_code_of(const struct imap_parser *p);

/* The capabilities in the nodes from `first` on (capability.c). */
void imap_capabilities(struct imap_session *s, uint32_t first, uint32_t end);

/* Those of ENABLED that were asked for and that count. */
void imap_enabled(struct imap_session *s);

void imap_copied_clear(struct imap_copied *c);

#endif
