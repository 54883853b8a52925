/*
 * The keywords of a folder: which letter a to z stands for which. They lie in the state database and, for
 * readers, in the folder's file "dovecot-keywords" ("0 $Label1", one a
 * line, 0 is the letter a), which Dovecot reads and writes when it serves the same Maildir. The file is right
 * where they differ: readers have it from there. $Forwarded has the letter P and no slot. A keyword without a
 * free slot stays on the server alone.
 */
#ifndef SATCHEL_AGENT_MAIL_SYNC_KEYWORD_H
#define SATCHEL_AGENT_MAIL_SYNC_KEYWORD_H

#include "agent/mail/sync/flags.h"

#include <stdbool.h>

#define KEYWORD_FILE "dovecot-keywords"
#define KEYWORD_MAX 200        /* bytes of a keyword */
#define KEYWORD_FILE_MAX 65536 /* bytes of the file */

struct keywords {
    char *names[FLAGS_SLOTS]; /* owned; NULL: free */
    bool loaded;
    bool changed; /* not yet in the database and the file */
};

void keyword_finish(struct keywords *k);

/* The slot of a keyword, taking a free one where `add` is set; -1: there is none. Sets `changed` when it
 * takes one. $Forwarded has none. */
int keyword_slot(struct keywords *k, const char *name, size_t n, bool add);

/* Gives a keyword that had that slot a place: the one it has by now, else that slot, else a free one; -1:
 * none. */
int keyword_place(struct keywords *k, int slot, const char *name);

/* Takes in the text of the file. Lines that are no keyword, or have a slot or keyword that is there already,
 * are passed over. */
void keyword_parse(struct keywords *k, const char *text, size_t n);

/* Appends the text of the file. */
int keyword_text(const struct keywords *k, struct buf *ret);

/* The flags in a parenthesized list of a response; slots are taken for what is new. */
uint32_t keyword_flags(struct keywords *k, const struct imap_parser *p, const struct imap_node *list);

/* Appends the flags for a command: "\Seen $Forwarded NonJunk". Letters without a keyword are passed over. */
int keyword_write(const struct keywords *k, uint32_t flags, struct buf *ret);

/* The flags that stand for something. */
uint32_t keyword_known(const struct keywords *k);

/* The flags that the selected mailbox can keep. */
uint32_t keyword_mask(const struct keywords *k, const struct imap_session *s);

#endif
