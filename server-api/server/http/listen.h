/*
 * Listening sockets.
 */
#ifndef SATCHEL_SERVER_HTTP_LISTEN_H
#define SATCHEL_SERVER_HTTP_LISTEN_H

/* Whether `address` can be listened on as far as its form goes. ERR_USAGE. */
int listen_check(const char *address);

/* Listens on ADDR:PORT or [ADDR]:PORT (numeric). ERR_USAGE for a malformed address, ERR_SYSTEM. The caller
 * closes *ret_fd. */
int listen_open(const char *address, int *ret_fd);

/* Raises the limit of descriptors to what the system allows, and returns it. */
unsigned listen_raise_limit(void);

#endif
