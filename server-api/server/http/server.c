#include "server-api/server/http/server.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/encode.h"
#include "platform/base/err.h"
#include "platform/base/json.h"
#include "platform/base/log.h"
#include "platform/base/utf8.h"
#include "server-api/contract/cert.h"
#include "server-api/contract/stamp.h"
#include "server-api/server/http/listen.h"

#include <gnutls/gnutls.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define HANDSHAKE_MS 30000 /* from the connection to the end of the first request's headers */
#define BODY_MS 30000      /* from the headers to the end of the body */
#define ANSWER_MS 60000    /* until the peer has read the answer */
#define IDLE_MS 75000      /* from an answer to the end of the next request's headers */
#define TICK_MS 250
#define DROPPED_MAX ((size_t)1 << 20) /* bytes of an unwanted body that are read, to be able to answer */
#define RETRY_LEAST 1                 /* seconds: when the server goes away */
#define RETRY_MOST 60
#define TLS_PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:%SERVER_PRECEDENCE"

struct http_connection {
    int fd;
    _Atomic int64_t deadline; /* clock_boot_ms() */
    bool looked;              /* for a certificate */
    int chain;
    X509 *cert; /* owned */
    char *digest;
    struct http_connection *next, **link;
};

struct http_server {
    struct http_config config;
    struct MHD_Daemon *daemon;
    pthread_t timer;
    bool timing;
    atomic_bool stopping;
    pthread_mutex_t lock; /* what stands below */
    pthread_cond_t change;
    struct http_connection *connections;
    struct http_counts counts;
    bool closed;
};

static void http_deadline(struct http_request *r, int64_t ms) {
    atomic_store(&r->connection->deadline, ms ? clock_boot_ms() + ms : INT64_MAX);
}

struct hub *http_hub(struct http_request *r) {
    return r->server->config.hub;
}

const char *http_query(struct http_request *r, const char *name) {
    return MHD_lookup_connection_value(r->mhd, MHD_GET_ARGUMENT_KIND, name);
}

const char *http_header(struct http_request *r, const char *name) {
    return MHD_lookup_connection_value(r->mhd, MHD_HEADER_KIND, name);
}

const struct sockaddr *http_peer(struct http_request *r) {
    return MHD_get_connection_info(r->mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr;
}

X509 *http_certificate(struct http_request *r, const char **ret_digest, int **ret_chain) {
    struct http_connection *c = r->connection;
    if (!c->looked) {
        c->looked = true;
        unsigned n = 0;
        gnutls_session_t session =
            MHD_get_connection_info(r->mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION)->tls_session;
        const gnutls_datum_t *list = gnutls_certificate_get_peers(session, &n);
        const unsigned char *der = list && n ? list[0].data : NULL;
        c->cert = der ? d2i_X509(NULL, &der, (long)list[0].size) : NULL;
        c->digest = c->cert ? cert_digest(c->cert) : NULL;
    }
    *ret_digest = c->digest;
    *ret_chain = &c->chain;
    return c->digest ? c->cert : NULL;
}

int http_park(struct http_request *r, const char *key, uint64_t ticket) {
    (void)snprintf(r->park.key, sizeof r->park.key, "%s", key);
    r->ticket = ticket;
    r->park.deadline = r->wait_until;
    return HTTP_PARK;
}

static int http_going_away(struct http_request *r) {
    uint32_t random;
    random_bytes(&random, sizeof random);
    r->answer.retry_after = RETRY_LEAST + (int)(random % (RETRY_MOST - RETRY_LEAST));
    r->answer.close = true;
    return http_problem(r, 503, "going-away", "the server is going away; try again a little later");
}

static enum MHD_Result http_send(struct http_request *r) {
    struct http_answer *a = &r->answer;
    struct MHD_Response *response = MHD_create_response_from_buffer(a->size, a->body, MHD_RESPMEM_MUST_FREE);
    if (!response)
        return MHD_NO;
    a->body = NULL;
    char seconds[16];
    (void)snprintf(seconds, sizeof seconds, "%d", a->retry_after);
    const char *const headers[][2] = {{"Content-Type", a->type},
                                      {"Content-Security-Policy", a->policy},
                                      {"WWW-Authenticate", a->challenge},
                                      {STAMP_HEADER, a->stamp},
                                      {"Allow", a->allow[0] ? a->allow : NULL},
                                      {"Retry-After", a->retry_after ? seconds : NULL},
                                      {"Connection", a->close ? "close" : NULL},
                                      {"Cache-Control", "no-store"},
                                      {"X-Content-Type-Options", "nosniff"},
                                      {"Referrer-Policy", "no-referrer"}};
    enum MHD_Result ok = MHD_YES;
    for (size_t i = 0; i < sizeof headers / sizeof *headers && ok == MHD_YES; i++)
        if (headers[i][1])
            ok = MHD_add_response_header(response, headers[i][0], headers[i][1]);
    http_deadline(r, ANSWER_MS);
    if (ok == MHD_YES)
        ok = MHD_queue_response(r->mhd, a->status, response);
    MHD_destroy_response(response);
    (void)pthread_mutex_lock(&r->server->lock);
    r->server->counts.answers[a->status / 100 < 6 ? a->status / 100 : 5]++;
    (void)pthread_mutex_unlock(&r->server->lock);
    return ok;
}

/* The body as a JSON object, once, before the handler sees the request. */
static int http_parse(struct http_request *r) {
    if (r->json || !r->route->content_type || strcmp(r->route->content_type, HTTP_JSON) != 0)
        return 0;
    int e = json_parse(r->body.data ? r->body.data : "", r->body.len, &r->json);
    if (e == 0 && !utf8_valid(r->body.data)) /* RFC 8259 section 8.1; NUL bytes are refused by the parser */
        e = err_set(ERR_INVALID, "the body is not UTF-8");
    if (e == 0 && !cJSON_IsObject(r->json))
        e = err_set(ERR_INVALID, "the body must be a JSON object");
    return e;
}

/* Runs the handler until it answers (true) or is parked (false: the request is not ours any more). */
static bool http_run(struct http_request *r, bool suspended) {
    for (;;) {
        int e = http_parse(r);
        if (e == 0)
            e = r->route->handler(r);
        if (e < 0)
            (void)http_fail(r, e);
        if (e != HTTP_PARK) {
            r->phase = HTTP_ANSWERED;
            if (suspended)
                MHD_resume_connection(r->mhd);
            return !suspended;
        }
        r->phase = HTTP_WOKEN;
        if (!suspended)
            MHD_suspend_connection(r->mhd);
        suspended = true;
        if (hub_park(r->server->config.hub, &r->park, r->ticket))
            return false;
    }
}

/* The hub's wake-up, under its lock: only hands on to the loop. */
static void http_wake(struct hub_entry *entry) {
    struct http_request *r = (struct http_request *)((char *)entry - offsetof(struct http_request, park));
    MHD_resume_connection(r->mhd);
}

static void http_work(struct workers_task *task) {
    struct http_request *r = (struct http_request *)task;
    if (r->blocking) {
        /* the gate has something to write first; on a worker it may */
        if (r->server->config.gate(r) < 0) {
            r->phase = HTTP_ANSWERED;
            MHD_resume_connection(r->mhd);
            return;
        }
        r->blocking = false;
    }
    (void)http_run(r, true);
}

static enum MHD_Result http_dispatch(struct http_request *r) {
    r->phase = HTTP_RUNNING;
    http_deadline(r, 0);
    if (atomic_load(&r->server->stopping)) {
        (void)http_going_away(r);
        return http_send(r);
    }
    if ((r->route->flags & HTTP_INLINE) && !r->blocking)
        return http_run(r, false) ? http_send(r) : MHD_YES;
    MHD_suspend_connection(r->mhd);
    r->task.run = http_work;
    workers_submit(r->server->config.workers, &r->task);
    return MHD_YES;
}

static int http_gate_ask(struct http_request *r) {
    if (r->route->flags & HTTP_OPEN)
        return 0;
    return r->server->config.gate(r);
}

struct http_framing {
    unsigned lengths, codings;
    const char *coding;
};

static enum MHD_Result http_count_header(void *arg, enum MHD_ValueKind kind, const char *key,
                                         const char *value) {
    (void)kind;
    struct http_framing *f = arg;
    f->lengths += strcasecmp(key, "Content-Length") == 0;
    if (strcasecmp(key, "Transfer-Encoding") == 0) {
        f->codings++;
        f->coding = value;
    }
    return MHD_YES;
}

/* One way to tell where the body ends, or none (RFC 9112 section 6.3): anything else is how requests are
 * smuggled. */
static bool http_framing_ok(struct http_request *r) {
    struct http_framing f = {0};
    (void)MHD_get_connection_values(r->mhd, MHD_HEADER_KIND, http_count_header, &f);
    return f.lengths + f.codings <= 1 && (!f.codings || strcasecmp(f.coding, "chunked") == 0);
}

static bool http_type_ok(struct http_request *r, const char *expected) {
    const char *type = http_header(r, "Content-Type");
    size_t n = strlen(expected);
    return type && strncasecmp(type, expected, n) == 0 && (!type[n] || type[n] == ';' || type[n] == ' ');
}

static bool http_has_body(struct http_request *r) {
    const char *length = http_header(r, "Content-Length");
    return http_header(r, "Transfer-Encoding") || (length && strtoull(length, NULL, 10) > 0);
}

/* Everything that can be said before the body. Leaves an answer where it says no. */
static void http_begin(struct http_request *r, const char *method, const char *path) {
    const struct http_config *config = &r->server->config;
    if (!http_framing_ok(r)) {
        r->answer.close = true;
        (void)http_problem(r, 400, "framing", "the request does not say in one way where its body ends");
        return;
    }
    enum router_outcome found =
        router_match(config->routes, sizeof *config->routes, config->n_routes, method, path, &r->match);
    if (found != ROUTER_FOUND) {
        (void)snprintf(r->answer.allow, sizeof r->answer.allow, "%s", r->match.allow);
        (void)(found == ROUTER_METHOD
                   ? http_problem(r, 405, "method", "this address has the methods %s", r->match.allow)
                   : http_problem(r, 404, "not-found", "there is nothing at this address"));
        return;
    }
    r->route = &config->routes[r->match.index];
    if (http_gate_ask(r) < 0)
        return;
    const char *length = http_header(r, "Content-Length");
    if ((length && strtoull(length, NULL, 10) > r->route->body_max) ||
        (!r->route->body_max && http_has_body(r)))
        (void)http_problem(r, 413, "too-large", "a body of at most %zu bytes is accepted here",
                           r->route->body_max);
    else if (r->route->body_max && !http_type_ok(r, HTTP_JSON) && !http_type_ok(r, r->route->content_type))
        (void)http_problem(r, 415, "content-type", "the body must be %s", r->route->content_type);
    buf_init(&r->body, r->route->body_max, true);
}

static enum MHD_Result http_take(struct http_request *r, const char *data, size_t n) {
    if (clock_boot_ms() > atomic_load(&r->connection->deadline))
        return MHD_NO;
    if (!r->answer.status && n > r->route->body_max - r->body.len)
        (void)http_problem(r, 413, "too-large", "a body of at most %zu bytes is accepted here",
                           r->route->body_max);
    if (r->answer.status) {
        r->dropped += n;
        return r->dropped > DROPPED_MAX ? MHD_NO : MHD_YES;
    }
    return buf_add(&r->body, data, n) < 0 ? MHD_NO : MHD_YES;
}

static struct http_request *http_request_create(struct http_server *s, struct MHD_Connection *mhd) {
    struct http_request *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->server = s;
    r->mhd = mhd;
    r->context = s->config.context;
    r->park.wake = http_wake;
    r->connection = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    (void)pthread_mutex_lock(&s->lock);
    s->counts.requests++;
    (void)pthread_mutex_unlock(&s->lock);
    return r;
}

/* libmicrohttpd calls this with the headers, with each part of the body, at its end, and when a suspended
 * connection goes on. */
static enum MHD_Result http_access(void *arg, struct MHD_Connection *mhd, const char *url, const char *method,
                                   const char *version, const char *data, size_t *size, void **state) {
    (void)version;
    struct http_request *r = *state;
    if (!r) {
        r = *state = http_request_create(arg, mhd);
        if (!r || !r->connection)
            return MHD_NO;
        http_deadline(r, BODY_MS);
        http_begin(r, method, url);
        const char *length = http_header(r, "Content-Length");
        bool huge = length && strtoull(length, NULL, 10) > DROPPED_MAX;
        if (r->answer.status && (huge || r->answer.close)) {
            r->answer.close = true;
            return http_send(r);
        }
        return MHD_YES;
    }
    if (r->phase == HTTP_READING && *size) {
        size_t n = *size;
        *size = 0;
        return http_take(r, data, n);
    }
    if (r->phase == HTTP_WOKEN && !atomic_load(&r->server->stopping) && http_gate_ask(r) < 0)
        r->phase = HTTP_ANSWERED;
    if (r->answer.status)
        return http_send(r);
    return http_dispatch(r);
}

static void http_completed(void *arg, struct MHD_Connection *mhd, void **state,
                           enum MHD_RequestTerminationCode code) {
    (void)mhd;
    (void)code;
    struct http_server *s = arg;
    struct http_request *r = *state;
    if (!r)
        return;
    if (r->connection)
        http_deadline(r, IDLE_MS);
    free(r->answer.body);
    free(r->answer.stamp);
    buf_finish(&r->body);
    json_delete_secret(r->json);
    free(r);
    *state = NULL;
    (void)pthread_mutex_lock(&s->lock);
    s->counts.requests--;
    (void)pthread_cond_broadcast(&s->change);
    (void)pthread_mutex_unlock(&s->lock);
}

static void http_connected(struct http_server *s, struct MHD_Connection *mhd, void **context) {
    struct http_connection *c = calloc(1, sizeof *c);
    *context = c;
    if (!c)
        return; /* without memory: its first request is refused */
    c->fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    atomic_store(&c->deadline, clock_boot_ms() + HANDSHAKE_MS);
    if (s->config.certificates)
        gnutls_certificate_server_set_request(
            MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION)->tls_session,
            GNUTLS_CERT_REQUEST);
    (void)pthread_mutex_lock(&s->lock);
    c->next = s->connections;
    c->link = &s->connections;
    if (c->next)
        c->next->link = &c->next;
    s->connections = c;
    s->counts.connections++;
    (void)pthread_mutex_unlock(&s->lock);
}

static void http_notify(void *arg, struct MHD_Connection *mhd, void **context,
                        enum MHD_ConnectionNotificationCode code) {
    struct http_server *s = arg;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        http_connected(s, mhd, context);
        return;
    }
    struct http_connection *c = *context;
    if (!c)
        return;
    (void)pthread_mutex_lock(&s->lock); /* from here on the timer does not know the descriptor */
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    s->counts.connections--;
    (void)pthread_mutex_unlock(&s->lock);
    X509_free(c->cert);
    free(c->digest);
    free(c);
    *context = NULL;
}

static void http_cut(struct http_server *s, int64_t now) {
    for (struct http_connection *c = s->connections; c; c = c->next)
        if (atomic_load(&c->deadline) < now) {
            (void)shutdown(c->fd, SHUT_RDWR); /* the loop sees it and closes */
            atomic_store(&c->deadline, INT64_MAX);
            s->counts.cut++;
        }
}

static void *http_timer(void *arg) {
    struct http_server *s = arg;
    (void)pthread_mutex_lock(&s->lock);
    while (!s->closed) {
        int64_t now = clock_boot_ms();
        http_cut(s, now);
        (void)pthread_mutex_unlock(&s->lock);
        hub_expire(s->config.hub, now);
        (void)pthread_mutex_lock(&s->lock);
        struct timespec until;
        (void)clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += TICK_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        if (!s->closed)
            (void)pthread_cond_timedwait(&s->change, &s->lock, &until);
    }
    (void)pthread_mutex_unlock(&s->lock);
    return NULL;
}

__attribute__((format(printf, 2, 0))) static void http_log(void *arg, const char *fmt, va_list ap) {
    char text[512];
    (void)arg;
    (void)vsnprintf(text, sizeof text, fmt, ap);
    log_debug("%s", text);
}

static struct MHD_Daemon *http_daemon(struct http_server *s, int fd) {
    const struct http_config *c = &s->config;
    return MHD_start_daemon(
        MHD_USE_TLS | MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL,
        NULL, http_access, s, MHD_OPTION_EXTERNAL_LOGGER, http_log, NULL, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_HTTPS_MEM_KEY, c->key_pem, MHD_OPTION_HTTPS_MEM_CERT, c->chain_pem,
        MHD_OPTION_HTTPS_PRIORITIES, TLS_PRIORITIES, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_THREAD_POOL_SIZE, c->threads, MHD_OPTION_CONNECTION_LIMIT, c->connections,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, c->header_max, MHD_OPTION_NOTIFY_COMPLETED, http_completed, s,
        MHD_OPTION_NOTIFY_CONNECTION, http_notify, s, MHD_OPTION_END);
}

int http_server_start(const struct http_config *config, struct http_server **ret) {
    struct http_server *s = calloc(1, sizeof *s);
    if (!s)
        return err_errno("cannot start a listener");
    s->config = *config;
    (void)pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_t monotonic;
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&s->change, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    int fd = -1;
    int r = listen_open(config->listen, &fd);
    if (r == 0) {
        s->daemon = http_daemon(s, fd);
        if (!s->daemon) {
            (void)close(fd);
            r = err_set(ERR_SYSTEM, "cannot start the %s listener on %s", config->name, config->listen);
        }
    }
    if (r == 0 && pthread_create(&s->timer, NULL, http_timer, s) != 0)
        r = err_set(ERR_SYSTEM, "cannot start a timer");
    s->timing = r == 0;
    if (r < 0) {
        http_server_stop(s);
        return r;
    }
    *ret = s;
    return 0;
}

void http_server_quiesce(struct http_server *s) {
    if (!s)
        return;
    atomic_store(&s->stopping, true);
    MHD_socket fd = MHD_quiesce_daemon(s->daemon);
    if (fd != MHD_INVALID_SOCKET)
        (void)close(fd);
}

void http_server_drain(struct http_server *s, int64_t ms) {
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    (void)pthread_mutex_lock(&s->lock);
    while (s->counts.requests && pthread_cond_timedwait(&s->change, &s->lock, &until) == 0)
        ;
    if (s->counts.requests)
        log_warning("%s: %llu requests are cut off", s->config.name, (unsigned long long)s->counts.requests);
    (void)pthread_mutex_unlock(&s->lock);
}

void http_server_stop(struct http_server *s) {
    if (!s)
        return;
    (void)pthread_mutex_lock(&s->lock);
    s->closed = true;
    (void)pthread_cond_broadcast(&s->change);
    (void)pthread_mutex_unlock(&s->lock);
    if (s->timing)
        (void)pthread_join(s->timer, NULL);
    if (s->daemon)
        MHD_stop_daemon(s->daemon);
    (void)pthread_cond_destroy(&s->change);
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
}

struct http_counts http_server_counts(struct http_server *s) {
    (void)pthread_mutex_lock(&s->lock);
    struct http_counts counts = s->counts;
    (void)pthread_mutex_unlock(&s->lock);
    return counts;
}
