/*
 * One connection to the mail server, logged in. libcurl (CURLOPT_CONNECT_ONLY) resolves, connects, does TLS
 * or STARTTLS, checks the certificate against the host name, and logs in by SASL PLAIN or LOGIN; then bytes
 * go through here. Every wait ends at a deadline or when the cancel descriptor becomes readable. One thread
 * at a time. libcurl's memory is cleared when it is freed, since it holds the password:
 * imap_connection_setup() comes first, once in the process, while it has one thread.
 */
#ifndef SATCHEL_AGENT_MAIL_IMAP_CONNECTION_H
#define SATCHEL_AGENT_MAIL_IMAP_CONNECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct imap_endpoint {
    const char *host;
    uint16_t port;
    bool starttls;  /* else TLS from the first byte */
    const char *ca; /* PEM: the only authorities that count. NULL: those of the system */
    const char *login;
    const char *password;
};

struct imap_connection;

#define IMAP_AHEAD_MAX ((size_t)4 << 20)
#define IMAP_WATCH 1 /* the watched descriptor became readable first */

int imap_connection_setup(void);

/*
 * Connects and logs in. ERR_UNREACHABLE (name, connection, the server asks to come back later), ERR_TIMEOUT,
 * ERR_TLS (certificate, handshake, no STARTTLS), ERR_AUTH (login refused), ERR_PROTOCOL, ERR_CANCELED.
 * `cancel` is kept for the connection's life; -1 for none.
 */
int imap_connection_open(const struct imap_endpoint *endpoint, int cancel, int64_t deadline,
                         struct imap_connection **ret);

/* Closes without a LOGOUT. NULL is allowed. */
void imap_connection_close(struct imap_connection *c);

/*
 * Sends all `n` bytes. A server that waits until its own bytes are read meanwhile is not waited for: they are
 * kept for imap_connection_recv(), up to IMAP_AHEAD_MAX of them. ERR_UNREACHABLE, ERR_TIMEOUT, ERR_CANCELED,
 * ERR_PROTOCOL over the cap.
 */
int imap_connection_send(struct imap_connection *c, const char *data, size_t n, int64_t deadline);

/*
 * Receives 1 to `max` bytes. `watch`: a descriptor whose readability gives IMAP_WATCH when no bytes are
 * there, or -1. ERR_UNREACHABLE at the end of the stream, ERR_TIMEOUT, ERR_CANCELED.
 */
int imap_connection_recv(struct imap_connection *c, int watch, int64_t deadline, char *data, size_t max,
                         size_t *ret_n);

/*
 * From here on both directions are compressed (RFC 4978): right behind the tagged OK of COMPRESS. `rest` is
 * what was already received behind that line. ERR_SYSTEM.
 */
int imap_connection_compress(struct imap_connection *c, const char *rest, size_t n);

#endif
