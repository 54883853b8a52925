/*
 * The place in the vault: the Maildir's root, where the state database lies, and how writes there become
 * durable. The vault is opened once and everything goes through its descriptor, so that nothing is ever read
 * or written below it when it is not mounted. One thread.
 */
#ifndef SATCHEL_AGENT_MAIL_SYNC_STORE_H
#define SATCHEL_AGENT_MAIL_SYNC_STORE_H

#include <stdbool.h>
#include <stdint.h>

struct store {
    char *path;      /* owned: the vault */
    uint64_t device; /* st_dev that the vault must have */
    int vault;
    int root;   /* <vault>/Mail */
    int beside; /* the directory that holds the vault, or -1: syncfs(2) does not reach through FUSE, so the
                   file system with the ciphertext is synced by way of this */
};

/* Opens the vault and makes Mail/ and mail-state/. ERR_WRONG_STATE when the vault is not open (missing,
 * another device, or encrypted by the kernel without its key). *ret starts as zeros with descriptors -1:
 * STORE_INIT. */
#define STORE_INIT                                                                                           \
    { .vault = -1, .root = -1, .beside = -1 }
int store_open(const char *path, uint64_t device, struct store *ret);
void store_close(struct store *s);

/* 0 while the vault is still mounted at its path, ERR_WRONG_STATE otherwise. */
int store_check(const struct store *s);

/* Makes everything written so far durable. ERR_SYSTEM (ENOSPC, EIO). */
int store_sync(const struct store *s);

#endif
