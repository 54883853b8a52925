#include "agent/mail/imap/connection.h"
#include "agent/mail/imap/compress.h"
#include "platform/base/buf.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"

#include <curl/curl.h>
#include <errno.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define PIECE ((size_t)16 << 10) /* one record of TLS */
#define SILENT_DEATH_MS 30000    /* bytes that nobody acknowledges for so long: the line is dead */

struct imap_connection {
    CURLM *multi;
    CURL *easy;
    curl_socket_t socket;
    int cancel;
    struct imap_compressor *z;    /* owned; NULL: not compressed */
    struct buf ahead;             /* as it came, read while sending */
    char raw[PIECE];              /* what the compressor reads from */
    char packed[PIECE];           /* what it made to be sent */
    char detail[CURL_ERROR_SIZE]; /* libcurl's words for what failed */
    char said[160];               /* the last line of the server during the login */
    bool rubbish;                 /* it sent a line that is no IMAP */
};

static void clearing_free(void *p) {
    if (p)
        explicit_bzero(p, malloc_usable_size(p));
    free(p);
}

static void *clearing_realloc(void *p, size_t n) {
    void *grown = malloc(n);
    if (grown && p) {
        size_t old = malloc_usable_size(p);
        memcpy(grown, p, old < n ? old : n);
        clearing_free(p);
    }
    return grown;
}

int imap_connection_setup(void) {
    if (curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, clearing_free, clearing_realloc, strdup, calloc) !=
        CURLE_OK)
        return err_set(ERR_SYSTEM, "cannot set up libcurl");
    return 0;
}

void imap_connection_close(struct imap_connection *c) {
    if (!c)
        return;
    if (c->easy && c->multi)
        (void)curl_multi_remove_handle(c->multi, c->easy);
    curl_easy_cleanup(c->easy);
    imap_compressor_free(c->z);
    buf_finish(&c->ahead);
    if (c->multi)
        (void)curl_multi_cleanup(c->multi);
    free(c);
}

static void connection_cleanup(struct imap_connection **c) {
    imap_connection_close(*c);
}

static size_t discard_body(char *data, size_t size, size_t n, void *ctx) {
    (void)data;
    (void)ctx;
    return size * n;
}

/* Untagged, a continuation, or tagged as libcurl does ("A001 OK"). */
static bool is_imap_line(const char *line) {
    return strncmp(line, "* ", 2) == 0 || *line == '+' ||
           (strspn(line, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 1 && strspn(line + 1, "0123456789") == 3 &&
            line[4] == ' ');
}

/* Keeps the server's last line, to tell a refused password from a server that is busy, and a server that hung
 * up from one that does not speak IMAP. */
static size_t keep_line(char *data, size_t size, size_t n, void *ctx) {
    struct imap_connection *c = ctx;
    (void)snprintf(c->said, sizeof c->said, "%.*s", (int)(size * n < 150 ? size * n : 150), data);
    c->rubbish = c->rubbish || !is_imap_line(c->said);
    return size * n;
}

static int connection_url(const struct imap_endpoint *e, char **ret) {
    CURLU *url = curl_url();
    char port[8], host[300];
    (void)snprintf(port, sizeof port, "%u", e->port);
    (void)snprintf(host, sizeof host, strchr(e->host, ':') ? "[%s]" : "%s", e->host);
    bool good = url && strlen(e->host) < 256 &&
                curl_url_set(url, CURLUPART_SCHEME, e->starttls ? "imap" : "imaps", 0) == CURLUE_OK &&
                curl_url_set(url, CURLUPART_HOST, host, 0) == CURLUE_OK &&
                curl_url_set(url, CURLUPART_PORT, port, 0) == CURLUE_OK &&
                curl_url_set(url, CURLUPART_PATH, "/", 0) == CURLUE_OK;
    good = good && curl_url_get(url, CURLUPART_URL, ret, 0) == CURLUE_OK;
    curl_url_cleanup(url);
    return good ? 0 : err_set(ERR_INVALID, "\"%.100s\" is not a usable host name", e->host);
}

static int connection_options(struct imap_connection *c, const struct imap_endpoint *e, const char *url,
                              int64_t deadline) {
    CURL *h = c->easy;
    struct curl_blob ca = {
        .data = (char *)(uintptr_t)e->ca, .len = e->ca ? strlen(e->ca) : 0, .flags = CURL_BLOB_COPY};
    bool good = !curl_easy_setopt(h, CURLOPT_URL, url) && !curl_easy_setopt(h, CURLOPT_CONNECT_ONLY, 1L) &&
                !curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "imap,imaps") &&
                !curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L) && !curl_easy_setopt(h, CURLOPT_QUICK_EXIT, 1L) &&
                !curl_easy_setopt(h, CURLOPT_USE_SSL, (long)CURLUSESSL_ALL) &&
                !curl_easy_setopt(h, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) &&
                !curl_easy_setopt(h, CURLOPT_SSL_VERIFYPEER, 1L) &&
                !curl_easy_setopt(h, CURLOPT_SSL_VERIFYHOST, 2L) &&
                !curl_easy_setopt(h, CURLOPT_USERNAME, e->login) &&
                !curl_easy_setopt(h, CURLOPT_PASSWORD, e->password) &&
                !curl_easy_setopt(h, CURLOPT_LOGIN_OPTIONS, "AUTH=PLAIN;AUTH=LOGIN") &&
                !curl_easy_setopt(h, CURLOPT_SASL_IR, 1L) &&
                !curl_easy_setopt(h, CURLOPT_TCP_KEEPALIVE, 1L) &&
                !curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, (long)clock_left(deadline) + 1) &&
                !curl_easy_setopt(h, CURLOPT_ERRORBUFFER, c->detail) &&
                !curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, discard_body) &&
                !curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, keep_line) &&
                !curl_easy_setopt(h, CURLOPT_HEADERDATA, c);
    /* Without this, the system's directory of authorities would count beside the profile's own. */
    if (good && e->ca)
        good = !curl_easy_setopt(h, CURLOPT_CAINFO_BLOB, &ca) && !curl_easy_setopt(h, CURLOPT_CAPATH, NULL);
    return good ? 0 : err_set(ERR_SYSTEM, "cannot set up the connection");
}

/* libcurl gives one code for a handshake that failed and for a peer that hung up during it. */
static bool handshake_broke(const struct imap_connection *c) {
    return strstr(c->detail, "SSL_ERROR_SYSCALL") || strstr(c->detail, "Connection reset");
}

static bool server_is_busy(const struct imap_connection *c) {
    return strstr(c->said, "[UNAVAILABLE]") || strstr(c->said, "[INUSE]") || strstr(c->said, "[LIMIT]") ||
           strcasestr(c->said, "throttled") || strcasestr(c->said, "backoff time");
}

static int connection_error(const struct imap_connection *c, CURLcode code, const struct imap_endpoint *e) {
    const char *why = *c->detail ? c->detail : curl_easy_strerror(code);
    if (c->rubbish)
        code = CURLE_WEIRD_SERVER_REPLY;
    switch (code) {
    case CURLE_LOGIN_DENIED:
    case CURLE_AUTH_ERROR:
        if (server_is_busy(c))
            return err_set(ERR_UNREACHABLE, "the mail server %s is not available at the moment", e->host);
        return err_set(ERR_AUTH, "the mail server %s refused the login name or the password", e->host);
    case CURLE_PEER_FAILED_VERIFICATION:
        return err_set(ERR_TLS, "the certificate of the mail server %s is not trusted: %s", e->host, why);
    case CURLE_SSL_CONNECT_ERROR:
        if (handshake_broke(c))
            return err_set(ERR_UNREACHABLE, "the mail server %s hung up: %s", e->host, why);
        __attribute__((fallthrough));
    case CURLE_USE_SSL_FAILED:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CRL_BADFILE:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_ENGINE_INITFAILED:
        return err_set(ERR_TLS, "no secure connection to the mail server %s: %s", e->host, why);
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_BAD_CONTENT_ENCODING:
        return err_set(ERR_PROTOCOL, "what answers at %s port %u is no IMAP server: %s", e->host, e->port,
                       why);
    case CURLE_OUT_OF_MEMORY:
        return err_set(ERR_SYSTEM, "out of memory");
    case CURLE_OPERATION_TIMEDOUT:
        return err_set(ERR_TIMEOUT, "the mail server %s did not answer in time", e->host);
    default:
        return err_set(ERR_UNREACHABLE, "the mail server %s cannot be reached: %s", e->host, why);
    }
}

/* Runs the connection's set-up; the multi interface lets the cancel descriptor end it. */
static int connection_perform(struct imap_connection *c, const struct imap_endpoint *e, int64_t deadline) {
    for (;;) {
        int running = 0, left = 0, ready = 0;
        if (curl_multi_perform(c->multi, &running) != CURLM_OK)
            return err_set(ERR_SYSTEM, "cannot run the connection");
        CURLMsg *message = curl_multi_info_read(c->multi, &left);
        if (message && message->msg == CURLMSG_DONE)
            return message->data.result == CURLE_OK ? 0 : connection_error(c, message->data.result, e);
        if (clock_left(deadline) == 0)
            return err_set(ERR_TIMEOUT, "the mail server %s did not answer in time", e->host);
        struct curl_waitfd extra = {.fd = c->cancel, .events = CURL_WAIT_POLLIN};
        if (curl_multi_poll(c->multi, &extra, c->cancel >= 0 ? 1 : 0, clock_left(deadline), &ready) !=
            CURLM_OK)
            return err_set(ERR_SYSTEM, "cannot wait for the connection");
        if (extra.revents)
            return err_set(ERR_CANCELED, "canceled");
    }
}

static struct imap_connection *connection_new(int cancel) {
    struct imap_connection *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->cancel = cancel;
    buf_init(&c->ahead, IMAP_AHEAD_MAX + ((size_t)1 << 20), false);
    c->multi = curl_multi_init();
    c->easy = curl_easy_init();
    return c;
}

/* A network that went away says nothing: without these, a dead connection looks like a quiet one for hours.
 */
static void connection_watch_over(const struct imap_connection *c) {
    const struct {
        int level, name, value;
    } options[] = {{SOL_SOCKET, SO_KEEPALIVE, 1},
                   {IPPROTO_TCP, TCP_KEEPIDLE, 60},
                   {IPPROTO_TCP, TCP_KEEPINTVL, 15},
                   {IPPROTO_TCP, TCP_KEEPCNT, 4},
                   {IPPROTO_TCP, TCP_USER_TIMEOUT, SILENT_DEATH_MS}};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        (void)setsockopt(c->socket, options[i].level, options[i].name, &options[i].value, sizeof(int));
}

int imap_connection_open(const struct imap_endpoint *endpoint, int cancel, int64_t deadline,
                         struct imap_connection **ret) {
    cleanup(connection) struct imap_connection *c = connection_new(cancel);
    if (!c || !c->multi || !c->easy)
        return err_set(ERR_SYSTEM, "out of memory");
    char *url = NULL;
    int r = connection_url(endpoint, &url);
    if (r == 0)
        r = connection_options(c, endpoint, url, deadline);
    curl_free(url);
    if (r < 0)
        return r;
    if (curl_multi_add_handle(c->multi, c->easy) != CURLM_OK)
        return err_set(ERR_SYSTEM, "cannot set up the connection");
    r = connection_perform(c, endpoint, deadline);
    if (r < 0)
        return r;
    if (curl_easy_getinfo(c->easy, CURLINFO_ACTIVESOCKET, &c->socket) != CURLE_OK ||
        c->socket == CURL_SOCKET_BAD)
        return err_set(ERR_UNREACHABLE, "the mail server %s hung up", endpoint->host);
    connection_watch_over(c);
    *ret = steal(c);
    return 0;
}

/* Waits for the socket. IMAP_WATCH when only the watched descriptor is ready. */
static int connection_wait(struct imap_connection *c, short events, int watch, int64_t deadline) {
    struct pollfd p[3] = {{.fd = c->socket, .events = events},
                          {.fd = c->cancel, .events = POLLIN}, /* poll ignores negative descriptors */
                          {.fd = watch, .events = POLLIN}};
    int n = poll(p, 3, clock_left(deadline));
    if (n < 0 && errno != EINTR)
        return err_errno("cannot wait for the mail server");
    if (n > 0 && p[1].revents)
        return err_set(ERR_CANCELED, "canceled");
    if (n > 0 && p[0].revents)
        return 0;
    if (n > 0 && p[2].revents)
        return IMAP_WATCH;
    return clock_left(deadline) == 0 ? err_set(ERR_TIMEOUT, "the mail server did not answer in time") : 0;
}

static int connection_broke(CURLcode code) {
    return err_set(ERR_UNREACHABLE, "the connection to the mail server broke: %s", curl_easy_strerror(code));
}

/* What is there on the line, up to `max` bytes. *ret_n is 0 when nothing is. */
static int connection_receive(struct imap_connection *c, char *data, size_t max, size_t *ret_n) {
    size_t n = 0;
    CURLcode code = curl_easy_recv(c->easy, data, max, &n);
    if (code == CURLE_OK && n == 0)
        return err_set(ERR_UNREACHABLE, "the mail server hung up");
    if (code != CURLE_OK && code != CURLE_AGAIN)
        return connection_broke(code);
    *ret_n = code == CURLE_OK ? n : 0;
    return 0;
}

/* Takes in what the server sends while it does not read. */
static int connection_read_ahead(struct imap_connection *c) {
    size_t n = 0;
    do {
        if (c->ahead.len > IMAP_AHEAD_MAX)
            return err_set(ERR_PROTOCOL, "the mail server sends without reading what it is sent");
        int r = buf_reserve(&c->ahead, PIECE);
        if (r == 0)
            r = connection_receive(c, c->ahead.data + c->ahead.len, PIECE, &n);
        if (r < 0)
            return r;
        c->ahead.len += n;
        c->ahead.data[c->ahead.len] = '\0';
    } while (n > 0);
    return 0;
}

static int connection_send_raw(struct imap_connection *c, const char *data, size_t n, int64_t deadline) {
    for (size_t sent = 0; sent < n;) {
        size_t now = 0;
        CURLcode code = curl_easy_send(c->easy, data + sent, n - sent, &now);
        if (code == CURLE_OK) {
            sent += now;
            continue;
        }
        if (code != CURLE_AGAIN)
            return connection_broke(code);
        int r = connection_read_ahead(c);
        if (r == 0)
            r = connection_wait(c, POLLIN | POLLOUT, -1, deadline);
        if (r < 0)
            return r;
    }
    return 0;
}

int imap_connection_send(struct imap_connection *c, const char *data, size_t n, int64_t deadline) {
    if (!c->z)
        return connection_send_raw(c, data, n, deadline);
    imap_compressor_put(c->z, data, n);
    for (;;) {
        size_t packed = 0;
        int r = imap_compressor_pack(c->z, c->packed, sizeof c->packed, &packed);
        if (r == 0 && packed > 0)
            r = connection_send_raw(c, c->packed, packed, deadline);
        if (r < 0 || packed == 0)
            return r;
    }
}

/* Bytes as they came, up to `max`: first those that were read ahead. *ret_n is 0 when there are none. */
static int connection_take(struct imap_connection *c, char *data, size_t max, size_t *ret_n) {
    size_t n = c->ahead.len < max ? c->ahead.len : max;
    if (n == 0)
        return connection_receive(c, data, max, ret_n);
    memcpy(data, c->ahead.data, n);
    buf_consume(&c->ahead, n);
    if (c->ahead.len == 0)
        buf_finish(&c->ahead);
    *ret_n = n;
    return 0;
}

/* Plain bytes, up to `max`. *ret_n is 0 when none are there. */
static int connection_read(struct imap_connection *c, char *data, size_t max, size_t *ret_n) {
    size_t n = 0, raw = 0;
    int r = 0;
    if (!c->z)
        return connection_take(c, data, max, ret_n);
    do {
        raw = 0;
        r = imap_compressor_unpack(c->z, data, max, &n);
        if (r == 0 && n == 0)
            r = connection_take(c, c->raw, sizeof c->raw, &raw);
        if (raw > 0)
            imap_compressor_feed(c->z, c->raw, raw);
    } while (r == 0 && raw > 0);
    if (r == 0)
        *ret_n = n;
    return r;
}

int imap_connection_recv(struct imap_connection *c, int watch, int64_t deadline, char *data, size_t max,
                         size_t *ret_n) {
    for (;;) {
        size_t n = 0;
        int r = connection_read(c, data, max, &n);
        if (r < 0)
            return r;
        if (n > 0) {
            *ret_n = n;
            return 0;
        }
        r = connection_wait(c, POLLIN, watch, deadline);
        if (r != 0)
            return r;
    }
}

int imap_connection_compress(struct imap_connection *c, const char *rest, size_t n) {
    cleanup(buf) struct buf all = {0};
    buf_init(&all, c->ahead.max, false);
    int r = buf_add(&all, rest, n);
    if (r == 0)
        r = buf_add(&all, c->ahead.data, c->ahead.len);
    if (r == 0)
        r = imap_compressor_new(&c->z);
    if (r < 0)
        return r;
    buf_finish(&c->ahead);
    c->ahead = all;
    all = (struct buf){0};
    return 0;
}
