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
#define NAME_SUFFIX_MAX 64

/* Whether the mailbox is INBOX (ASCII case ignored). */
bool name_is_inbox(const char *mailbox, size_t n);

/*
 * The relative directory of a mailbox, appended to `ret`. `delimiter` 0: the mailbox has no hierarchy.
 * ERR_INVALID for an empty name or component, malformed modified UTF-7, a NUL; ERR_TOO_LARGE over a cap.
 * `ret` is then unchanged.
 */
int name_folder(const char *mailbox, size_t n, char delimiter, struct buf *ret);

uint32_t name_hash(const char *mailbox, size_t n);

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

/* The imap_flag bits in the suffix ("", ":2,FS"); letters that stand for no system flag are passed over. */
unsigned name_flags(const char *suffix);

/* Writes ":2," and the letters for `flags`, keeping the other letters of the old suffix, in ASCII order. */
void name_suffix(const char *old, unsigned flags, char out[NAME_SUFFIX_MAX]);

#endif
