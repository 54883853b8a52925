/*
 * A listener: libmicrohttpd with epoll loops, TLS, strict parsing, and a deadline for everything a peer can
 * be slow with. It routes, asks the gate, reads the body up to the route's cap, and runs the handler on a
 * loop (HTTP_INLINE) or on a worker with the connection suspended. A parked request costs its connection and
 * nothing else.
 *
 * Start: http_server_start(). Stop: http_server_quiesce() on every listener, hub_close(), http_server_drain()
 * on each, workers_destroy(), http_server_stop() on each.
 */
#ifndef SATCHEL_SERVER_HTTP_SERVER_H
#define SATCHEL_SERVER_HTTP_SERVER_H

#include "server-api/server/http/request.h"

/* Lets a request in (0, with r->who filled in) or refuses it: an answer is left, and the code is negative.
 * Runs on a loop: it reads, quickly; where it must write, it sets r->blocking and is called again on a
 * worker. Called again also when a parked request is woken. */
typedef int http_gate(struct http_request *r);

struct http_config {
    const char *name;   /* for the log */
    const char *listen; /* ADDR:PORT or [ADDR]:PORT */
    const char *key_pem, *chain_pem;
    bool certificates; /* ask clients for one */
    const struct http_route *routes;
    size_t n_routes;
    http_gate *gate;
    void *context;
    struct hub *hub; /* all borrowed until http_server_stop() */
    struct workers *workers;
    unsigned threads;     /* loops */
    unsigned connections; /* at most */
    size_t header_max;    /* bytes: request line and headers, with libmicrohttpd's own use */
};

/* ERR_USAGE for the address, ERR_SYSTEM. */
int http_server_start(const struct http_config *config, struct http_server **ret);

/* No new connections and no new requests; those begun go on. */
void http_server_quiesce(struct http_server *s);

/* Waits up to `ms` for the requests that are begun. */
void http_server_drain(struct http_server *s, int64_t ms);

/* Closes. No request may be suspended any more: the hub is closed, the workers are destroyed. NULL is fine.
 */
void http_server_stop(struct http_server *s);

struct http_counts {
    uint64_t connections; /* now open */
    uint64_t requests;    /* now begun, parked ones included */
    uint64_t answers[6];  /* since the start, by hundreds of the status */
    uint64_t cut;         /* connections closed at a deadline */
};
struct http_counts http_server_counts(struct http_server *s);

#endif
