/*
 * The keyring: where Satchel's secrets live, a few small items told apart by their kind. A driver is a const
 * struct of functions; callers use the functions below, which check what is common.
 *
 * Fails closed: a keyring that is missing, locked or silent is ERR_KEYRING with a sentence that says what to
 * do. Nothing ever prompts, nothing is ever kept anywhere else instead. Every call ends within `timeout_ms`,
 * also when the service hangs; what was asked of a hanging service may still happen later. One thread at a
 * time for each struct keyring. What was stored survives a crash once the store has returned.
 */
#ifndef SATCHEL_KEYRING_H
#define SATCHEL_KEYRING_H

#include "platform/base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEYRING_DEVICE_KEY "device-key"
#define KEYRING_DEVICE_CERTIFICATE "device-certificate"
#define KEYRING_VAULT_KEY "vault-key"
#define KEYRING_MAIL_CREDENTIAL "mail-credential"

#define KEYRING_KIND_MAX 63 /* of a-z, 0-9 and "-" */
#define KEYRING_SECRET_MAX ((size_t)65536)
#define KEYRING_ITEMS_MAX 64
#define KEYRING_TIMEOUT_MS 10000

struct keyring_status {
    bool available; /* a service with a default collection answers */
    bool locked;    /* only where available */
};

struct keyring_kinds {
    char kinds[KEYRING_ITEMS_MAX][KEYRING_KIND_MAX + 1];
    size_t n;
};

struct keyring {
    const struct keyring_driver *driver;
    int timeout_ms; /* of one call; may be changed between calls */
};

/* All required. Arguments have been checked. */
struct keyring_driver {
    const char *name;
    int (*status)(struct keyring *k, struct keyring_status *ret);
    int (*store)(struct keyring *k, const char *kind, const char *label, const void *secret, size_t n);
    int (*load)(struct keyring *k, const char *kind, struct buf *ret);
    int (*remove)(struct keyring *k, const char *kind);
    int (*list)(struct keyring *k, struct keyring_kinds *ret);
};

/* The Secret Service of the session bus (GNOME Keyring, KWallet, KeePassXC, ...). */
void keyring_libsecret_init(struct keyring *k);

/* Never an error: where there is none, `available` is false and err_text() says why. */
void keyring_status(struct keyring *k, struct keyring_status *ret);

/* Stores or replaces the item. `label` is what a keyring viewer shows. ERR_KEYRING; ERR_INVALID for a bad
 * kind, an empty or oversized secret. */
int keyring_store(struct keyring *k, const char *kind, const char *label, const void *secret, size_t n);

/* Appends the secret to `ret`, which becomes a secret buffer. ERR_NOT_FOUND, ERR_KEYRING, ERR_INVALID when
 * what is stored is not ours. */
int keyring_load(struct keyring *k, const char *kind, struct buf *ret);

/* Removes every item of that kind, in every collection, and looks again. 0 only when none is left, 1
 * (KEYRING_NOTHING) when there was none; ERR_KEYRING. */
#define KEYRING_NOTHING 1
int keyring_remove(struct keyring *k, const char *kind);

/* The kinds of all items there are, each once, also in other collections. ERR_KEYRING. */
int keyring_list(struct keyring *k, struct keyring_kinds *ret);

bool keyring_kinds_has(const struct keyring_kinds *kinds, const char *kind);

/* Adds a kind once; ERR_TOO_LARGE. For drivers. */
int keyring_kinds_add(struct keyring_kinds *kinds, const char *kind);

#endif
