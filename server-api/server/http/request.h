/*
 * A request and its answer, as endpoints see them. An endpoint is a function that runs from top to bottom and
 * leaves an answer; it may block on the store, unless its route says HTTP_INLINE. One thread at a time has a
 * request.
 */
#ifndef SATCHEL_SERVER_HTTP_REQUEST_H
#define SATCHEL_SERVER_HTTP_REQUEST_H

#include "platform/base/buf.h"
#include "server-api/server/http/hub.h"
#include "server-api/server/http/router.h"
#include "server-api/server/http/workers.h"

#include <cjson/cJSON.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct MHD_Connection;
struct http_server;
struct http_connection;
struct http_request;

/* What a handler returns besides 0 (it left an answer) and a negative code (a problem is made of it):
 * http_park()'s value. */
#define HTTP_PARK 1

typedef int http_handler(struct http_request *r);

enum http_flags {
    HTTP_OPEN = 1,   /* the gate is not asked: anybody may */
    HTTP_INLINE = 2, /* reads only, and quickly: runs on the loop */
};

#define HTTP_JSON "application/json"
#define HTTP_CSV "text/csv"

struct http_route {
    struct route_key key; /* first: router_match() */
    unsigned flags;
    unsigned gate;            /* flags that only the listener's gate understands */
    size_t body_max;          /* bytes; 0: a body is refused */
    const char *content_type; /* that a body must have; HTTP_CSV: that, or HTTP_JSON */
    http_handler *handler;
};

struct http_answer {
    unsigned status; /* 0: none yet */
    char *body;      /* owned */
    size_t size;
    const char *type;
    const char *policy;    /* Content-Security-Policy; NULL: none */
    const char *challenge; /* WWW-Authenticate; NULL: none */
    char *stamp;           /* owned: the signed time, see contract/stamp.h; NULL: none */
    char allow[ROUTER_ALLOW_SIZE];
    int retry_after; /* seconds; 0: none */
    bool close;
};

/* Who asks, as the gate found it. */
struct http_principal {
    char actor[161]; /* for the audit log; "" for an open route */
    char device[65]; /* "" for an admin */
    bool orders_only;
    bool receipts_only; /* the device's wipe is done */
};

enum http_phase { HTTP_READING, HTTP_RUNNING, HTTP_WOKEN, HTTP_ANSWERED };

struct http_request {
    struct workers_task task;
    struct hub_entry park;
    struct http_server *server;
    struct MHD_Connection *mhd;
    struct http_connection *connection;
    const struct http_route *route;
    struct route_match match;
    void *context; /* the listener's, for handlers and gate */
    enum http_phase phase;
    bool blocking;      /* the gate found that it must write: not on the loop, this time */
    size_t dropped;     /* bytes of a body that nobody wants */
    struct buf body;    /* secret: it may hold a code */
    cJSON *json;        /* the body, parsed; NULL for other types; owned */
    int64_t wait_until; /* of a long poll: clock_boot_ms(), 0 before it was parked */
    uint64_t ticket;
    struct http_principal who;
    struct http_answer answer;
};

/* The answers. They replace what was there; `body` and `json` are taken over. All return 0. */
int http_answer(struct http_request *r, unsigned status, const char *type, char *body, size_t size);
int http_answer_json(struct http_request *r, unsigned status, cJSON *json);
int http_answer_empty(struct http_request *r, unsigned status);

/* A problem (RFC 9457) of type urn:satchel:problem:`kind`. */
int http_problem(struct http_request *r, unsigned status, const char *kind, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* The same, with "errors": taken over. */
int http_problem_errors(struct http_request *r, unsigned status, const char *kind, cJSON *errors,
                        const char *detail);

/* The problem for a fatal code and its err_text(). What is ours to mend is logged and not told. */
int http_fail(struct http_request *r, int code);

/* Gives the request back until `key` changes, or until `wait_until`; the handler then runs again, from the
 * start. `ticket`: from hub_ticket(), taken before the store was read. */
int http_park(struct http_request *r, const char *key, uint64_t ticket);

struct hub *http_hub(struct http_request *r);

/* A parameter of the query; NULL without. */
const char *http_query(struct http_request *r, const char *name);

/* A whole number of the query from `least` to `most`; `otherwise` without one. ERR_INVALID. */
int http_query_int(struct http_request *r, const char *name, int64_t least, int64_t most, int64_t otherwise,
                   int64_t *ret);

const char *http_header(struct http_request *r, const char *name);
const struct sockaddr *http_peer(struct http_request *r);

/* Of the connection, looked up once: the certificate that the peer proved to have, and cert_digest() of it.
 * NULL without one. `*chain` is for the gate to remember what it found: 0 at first. */
X509 *http_certificate(struct http_request *r, const char **ret_digest, int **ret_chain);

#endif
