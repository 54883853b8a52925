/*
 * The store: everything the server must not forget. Opened once by main, used by domain/ and auth/ from any
 * thread.
 *
 * Work happens in bodies: store_write() runs one as a transaction of its own on the store's only writer
 * thread, many of them in one commit, and returns when it is durable (a power cut after the return loses
 * nothing); store_read() runs one on the calling thread against one consistent snapshot. A body that returns
 * a negative code is rolled back alone. Bodies do not block on anything but the store, and never call
 * store_read() or store_write() themselves. The tables are in store_user.h, store_code.h and so on; their
 * functions take the `tx` of a body.
 */
#ifndef SATCHEL_SERVER_STORE_H
#define SATCHEL_SERVER_STORE_H

#include <stdint.h>

struct store;
struct store_tx;

typedef int store_body(struct store_tx *tx, void *arg);

/*
 * Opens and migrates. `url`: "sqlite:PATH". ERR_REFUSED for another scheme and for a database of a newer
 * version, ERR_SYSTEM. *ret is closed by store_close().
 */
int store_open(const char *url, struct store **ret);

/* Waits for the writes that were begun. NULL is fine. */
void store_close(struct store *s);

static inline void store_cleanup(struct store **s) {
    store_close(*s);
}

/* Both hand on what the body returned; ERR_SYSTEM when the transaction itself failed. */
int store_write(struct store *s, store_body *body, void *arg);
int store_read(struct store *s, store_body *body, void *arg);

/* Since it was opened: commits, and bodies in them. */
struct store_counts {
    uint64_t commits, writes;
};
struct store_counts store_counts(const struct store *s);

#endif
