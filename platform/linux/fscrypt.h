/*
 * The kernel's file encryption (fscrypt, policies of version 2; Documentation/filesystems/fscrypt.rst), on
 * file systems that offer it: ext4 and f2fs with the feature "encrypt". A directory gets a policy while it is
 * empty; everything made in it is encrypted with a key that the kernel is told and can be made to forget.
 * Needs no privilege. A key is known by an identifier that the kernel derives from it, which is not secret.
 *
 * `fd` is any file or directory of the file system, unless said otherwise. Any thread; nothing is kept here,
 * but the kernel keeps a key until it is removed or the file system is unmounted, whatever becomes of us.
 */
#ifndef SATCHEL_LINUX_FSCRYPT_H
#define SATCHEL_LINUX_FSCRYPT_H

#include "platform/linux/process.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FSCRYPT_ID_SIZE 16
#define FSCRYPT_RAW_SIZE 32
#define FSCRYPT_PLAIN 1       /* not encrypted by a policy of version 2 */
#define FSCRYPT_UNSUPPORTED 2 /* the file system or the kernel does not offer it */
#define FSCRYPT_ABSENT 1

struct fscrypt_id {
    uint8_t bytes[FSCRYPT_ID_SIZE];
};

bool fscrypt_same(const struct fscrypt_id *a, const struct fscrypt_id *b);

/* The key that the directory or regular file `fd` itself is encrypted with. FSCRYPT_PLAIN,
 * FSCRYPT_UNSUPPORTED, ERR_SYSTEM. */
int fscrypt_look(int fd, struct fscrypt_id *ret);

/* Hands the kernel a key of FSCRYPT_RAW_SIZE random bytes. 0 also when it has it. ERR_SYSTEM. */
int fscrypt_add(int fd, const void *raw, struct fscrypt_id *ret);

/* Encrypts the empty directory `fd` with a key that this user has added. ERR_SYSTEM. */
int fscrypt_protect(int fd, const struct fscrypt_id *id);

struct fscrypt_state {
    bool present; /* files can be opened */
    bool partly;  /* it was removed, and files that were open then are still readable */
    bool ours;    /* this user has added it */
};
int fscrypt_state(int fd, const struct fscrypt_id *id, struct fscrypt_state *ret);

/* What kept a key alive. */
struct fscrypt_removal {
    bool busy;        /* files are in use: remove it again once they are not */
    bool other_users; /* another user has added it, too: it is fully there */
};

/*
 * Makes the kernel forget the key and what it has decrypted with it. FSCRYPT_ABSENT when it did not have it
 * (of this user); ERR_SYSTEM. The key's bytes are gone at once; then the kernel writes out the file system,
 * which may take long: see fscrypt_remove_by().
 */
int fscrypt_remove(int fd, const struct fscrypt_id *id, struct fscrypt_removal *ret);

/* The same for the file system of the directory `path`, in a forked child that is waited for until `deadline`
 * (clock_boot_ms()): ERR_TIMEOUT. */
int fscrypt_remove_by(const char *path, const struct fscrypt_id *id, int64_t deadline,
                      struct fscrypt_removal *ret);

/* The same without waiting: a forked child does it. Once fscrypt_state() no longer says `present`, the key's
 * bytes are gone. */
int fscrypt_remove_begin(const char *path, const struct fscrypt_id *id, struct process *ret);

/* True when `fd` is an encrypted directory or file whose key the kernel does not have: its names are not
 * names, and nothing can be made in it. */
bool fscrypt_is_shut(int fd);

#endif
