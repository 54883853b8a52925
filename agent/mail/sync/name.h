/*
 * Names on disk. Pure functions, no input or output.
 *
 * Folders: a mailbox becomes the directory of its hierarchy in UTF-8 ("Projekte/Übersicht"), INBOX in any
 * case becomes "INBOX". Every component is escaped as '%' and two hexadecimal digits where it holds '%', '/',
 * a control character or DEL, where it begins with '.', or where it is cur, new or tmp; so a server's text
 * never leaves the Maildir's root, never hides a folder, and two mailboxes never share a directory.
 *
 * Messages: "SECONDS.HASH_UIDVALIDITY_UID.satchel,U=UID" and in cur/ ":2," with the flags. HASH is
 * name_hash() of the mailbox as the server writes it, so that a file says which message of which mailbox it
 * is, also after a reader has moved it elsewhere. A name that differs in any byte from what name_message()
 * writes is a reader's own file.
 */
#ifndef SATCHEL_AGENT_MAIL_SYNC_NAME_H
#define SATCHEL_AGENT_MAIL_SYNC_NAME_H

#include "platform/base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NAME_MAILBOX_MAX 1000  /* bytes of a mailbox name as the server writes it */
#define NAME_COMPONENT_MAX 175 /* bytes of a directory's name; gocryptfs stores longer ones at a price */
#define NAME_PATH_MAX 1024     /* bytes of a folder's path */
#define NAME_DEPTH_MAX 32
#define NAME_MESSAGE_SIZE 128
#define NAME_SUFFIX_MAX 128
#define NAME_AWAY_SIZE 20

/* Whether the mailbox is INBOX (ASCII case ignored). */
bool name_is_inbox(const char *mailbox, size_t n);

/*
 * The relative directory of a mailbox, appended to `ret`. `delimiter` 0: the mailbox has no hierarchy.
 * ERR_INVALID for an empty name or component, malformed modified UTF-7, a NUL; ERR_TOO_LARGE over a cap.
 * `ret` is then unchanged.
 */
int name_folder(const char *mailbox, size_t n, char delimiter, struct buf *ret);

uint32_t name_hash(const char *mailbox, size_t n);

/* A directory that no mailbox has: where a folder is while another one has its name. */
void name_away(uint32_t hash, char out[NAME_AWAY_SIZE]);
bool name_is_away(const char *directory);

struct name_message {
    int64_t seconds; /* INTERNALDATE */
    uint32_t hash;
    uint32_t uidvalidity;
    uint32_t uid;
};

/* Writes the name without its flags and returns its length. */
size_t name_message(const struct name_message *message, char out[NAME_MESSAGE_SIZE]);

/* Takes a file's name apart. `*ret_suffix` is where ":2," or the end of the name begins. false: not one of
 * ours. */
bool name_parse(const char *file, struct name_message *ret, const char **ret_suffix);

/*
 * The flags in the suffix: "" or ":2," and letters (D F P R S T, a to z). *ret_odd (may be NULL): the suffix
 * differs from what name_suffix() writes for them, in a directory cur; letters that mean nothing are passed
 * over.
 */
uint32_t name_flags(const char *suffix, bool *ret_odd);

/* Writes ":2," and the letters for `flags`, keeping the letters of `old` ("" for none) that mean nothing to
 * us, in ASCII order. */
void name_suffix(const char *old, uint32_t flags, char out[NAME_SUFFIX_MAX]);

/*
 * The mailbox for a directory that a reader made, in modified UTF-7: the reverse of name_folder(), which
 * gives the same directory again. ERR_INVALID where there is none (not UTF-8, holds the delimiter, an escape
 * that name_folder() does not write), ERR_TOO_LARGE.
 */
int name_mailbox(const char *directory, char delimiter, struct buf *ret);

/* Writes a new name, as a Maildir reader makes them, for a file that becomes a message of its own. */
void name_foreign(int64_t seconds, char out[NAME_MESSAGE_SIZE]);

#endif
