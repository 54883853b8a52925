#include "server-api/satchelctl/client.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/encode.h"
#include "platform/base/err.h"
#include "platform/base/file.h"
#include "platform/base/json.h"
#include "server-api/contract/jws.h"
#include "server-api/contract/link.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define CLIENT_SECONDS 30
#define CLIENT_CONNECT_SECONDS 10
#define CLIENT_ANSWER_MAX ((size_t)64 << 20)
#define CLIENT_FILE_MAX ((size_t)256 << 10)
#define CLIENT_PAGE 1000

struct client {
    CURL *curl;
    char base[300];      /* https://HOST:PORT */
    char *ca;            /* file; owned */
    struct buf token;    /* from a file */
    EVP_PKEY *admin_key; /* or made for each call with this one */
    struct curl_slist *connect_to;
    cJSON *problem;
};

static struct client *client_create(void) {
    struct client *c = calloc(1, sizeof *c);
    if (!c || curl_global_init(CURL_GLOBAL_DEFAULT) != 0 || !(c->curl = curl_easy_init())) {
        free(c);
        (void)err_set(ERR_SYSTEM, "cannot start libcurl");
        return NULL;
    }
    c->token.secret = true;
    return c;
}

void client_close(struct client *c) {
    if (!c)
        return;
    curl_easy_cleanup(c->curl);
    curl_slist_free_all(c->connect_to);
    EVP_PKEY_free(c->admin_key);
    buf_finish(&c->token);
    cJSON_Delete(c->problem);
    free(c->ca);
    free(c);
    curl_global_cleanup();
}

static inline void client_cleanup(struct client **c) {
    client_close(*c);
}

/* The certificate is good for "localhost" whatever address the admin API listens on, so that is the name in
 * the URL, and the address is where it is found. */
static int client_set_address(struct client *c, const char *listen) {
    char target[192];
    const char *colon = strrchr(listen, ':');
    if (!colon || strlen(listen) > 128)
        return err_set(ERR_INVALID, "server.json: admin_listen is malformed");
    const char *host = strncmp(listen, "0.0.0.0:", 8) == 0 ? "127.0.0.1"
                       : strncmp(listen, "[::]:", 5) == 0  ? "[::1]"
                                                           : listen;
    int n = host == listen ? (int)(colon - listen) : (int)strlen(host);
    (void)snprintf(target, sizeof target, "localhost%s:%.*s%s", colon, n, host, colon);
    (void)snprintf(c->base, sizeof c->base, "https://localhost%s", colon);
    c->connect_to = curl_slist_append(NULL, target);
    return c->connect_to ? 0 : err_set(ERR_SYSTEM, "out of memory");
}

int client_open_dir(const char *dir, struct client **ret) {
    cleanup(client) struct client *c = client_create();
    cleanup(fd) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (!c)
        return ERR_SYSTEM;
    if (fd < 0)
        return err_errno("cannot open %s", dir);
    cleanup(buf) struct buf text = {0}, pem = {.secret = true};
    cleanup(cJSON) cJSON *json = NULL;
    const char *listen;
    int r = file_read(fd, "server.json", CLIENT_FILE_MAX, &text);
    if (r == 0)
        r = json_parse(text.data ? text.data : "", text.len, &json);
    if (r == 0)
        r = json_need_str(json, "admin_listen", 128, &listen);
    if (r == 0)
        r = client_set_address(c, listen);
    if (r == 0)
        r = file_read(fd, "keys/admin.pem", CLIENT_FILE_MAX, &pem);
    if (r < 0)
        return err_context(r, "%s", dir);
    c->admin_key = key_from_private_pem(pem.data ? pem.data : "", pem.len);
    if (!c->admin_key)
        return err_context(ERR_INVALID, "%s/keys/admin.pem", dir);
    if (asprintf(&c->ca, "%s/ca.pem", dir) < 0) {
        c->ca = NULL;
        return err_errno("cannot name the CA");
    }
    *ret = steal(c);
    return 0;
}

int client_open_server(const char *url, const char *token_file, const char *ca_file, struct client **ret) {
    int r = link_check_base(url);
    if (r < 0)
        return err_set(ERR_USAGE, "--server: %s", err_text());
    cleanup(client) struct client *c = client_create();
    if (!c)
        return ERR_SYSTEM;
    (void)snprintf(c->base, sizeof c->base, "%s", url);
    c->ca = strdup(ca_file);
    if (!c->ca)
        return err_errno("cannot name the CA");
    r = file_read(AT_FDCWD, token_file, 1024, &c->token);
    if (r < 0)
        return r;
    if (c->token.data)
        c->token.len = strcspn(c->token.data, "\r\n");
    if (!c->token.data || c->token.len == 0)
        return err_set(ERR_INVALID, "%s holds no token", token_file);
    c->token.data[c->token.len] = '\0';
    *ret = steal(c);
    return 0;
}

/* A token in the name of this user id, good for a minute and for this server. */
static int client_sign_token(struct client *c, struct buf *ret) {
    char expires[CLOCK_RFC3339_SIZE], subject[32];
    (void)snprintf(subject, sizeof subject, "local:%u", (unsigned)getuid());
    cleanup(cJSON) cJSON *payload = cJSON_CreateObject();
    if (json_add_str(payload, "aud", "satchel-admin") < 0 ||
        json_add_str(payload, "exp", clock_rfc3339(clock_real_ms() + CLIENT_TOKEN_MS, expires)) < 0 ||
        json_add_str(payload, "sub", subject) < 0)
        return ERR_SYSTEM;
    cleanup(cJSON) cJSON *jws = jws_sign(payload, JWS_TYPE_TOKEN, &c->admin_key, 1);
    char *text = jws ? json_print(jws) : NULL, *encoded = text ? encode_base64url(text, strlen(text)) : NULL;
    int r = encoded ? buf_printf(ret, "local.%s", encoded) : err_set(ERR_SYSTEM, "cannot sign a token");
    if (text)
        explicit_bzero(text, strlen(text));
    if (encoded)
        explicit_bzero(encoded, strlen(encoded));
    free(text);
    free(encoded);
    return r;
}

static size_t client_take(char *data, size_t size, size_t n, void *arg) {
    return buf_add(arg, data, size * n) < 0 ? 0 : size * n;
}

static int client_curl_error(CURLcode code, const char *base) {
    switch (code) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CONNECT_ERROR:
        return err_set(ERR_TLS, "%s: %s", base, curl_easy_strerror(code));
    case CURLE_WRITE_ERROR:
        return err_set(ERR_TOO_LARGE, "%s answers with more than is acceptable", base);
    default:
        return err_set(ERR_UNREACHABLE, "%s: %s", base, curl_easy_strerror(code));
    }
}

static int client_refused(struct client *c, long status, const struct buf *answer) {
    const char *detail = NULL;
    if (answer->len && json_parse(answer->data, answer->len, &c->problem) == 0)
        detail = json_str(c->problem, "detail");
    int code = status == 404   ? ERR_NOT_FOUND
               : status == 503 ? ERR_UNREACHABLE
               : status >= 500 ? ERR_SYSTEM
                               : ERR_REFUSED;
    return err_set(code, "%s (%ld)", detail ? detail : "the server does not say why", status);
}

static int client_headers(struct client *c, const struct client_request *q, struct curl_slist **ret) {
    cleanup(buf) struct buf header = {.secret = true}, token = {.secret = true};
    int r = c->admin_key ? client_sign_token(c, &token) : buf_add(&token, c->token.data, c->token.len);
    if (r == 0)
        r = buf_printf(&header, "Authorization: Bearer %s", token.data);
    if (r < 0)
        return r;
    char type[96];
    (void)snprintf(type, sizeof type, "Content-Type: %s", q->type ? q->type : "application/json");
    struct curl_slist *list = curl_slist_append(NULL, header.data), *more = NULL;
    more = list && q->body ? curl_slist_append(list, type) : list;
    if (more)
        more = curl_slist_append(list, "Expect:");
    if (!more) {
        curl_slist_free_all(list);
        return err_set(ERR_SYSTEM, "out of memory");
    }
    *ret = list;
    return 0;
}

static void client_options(struct client *c, const struct client_request *q, const char *url,
                           struct curl_slist *headers, struct buf *answer) {
    curl_easy_reset(c->curl);
    (void)curl_easy_setopt(c->curl, CURLOPT_URL, url);
    (void)curl_easy_setopt(c->curl, CURLOPT_PROTOCOLS_STR, "https");
    (void)curl_easy_setopt(c->curl, CURLOPT_CUSTOMREQUEST, q->method);
    (void)curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(c->curl, CURLOPT_CAINFO, c->ca);
    (void)curl_easy_setopt(c->curl, CURLOPT_CAPATH, NULL);
    (void)curl_easy_setopt(c->curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(c->curl, CURLOPT_CONNECTTIMEOUT, (long)CLIENT_CONNECT_SECONDS);
    (void)curl_easy_setopt(c->curl, CURLOPT_TIMEOUT, CLIENT_SECONDS + q->seconds);
    (void)curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, client_take);
    (void)curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, answer);
    (void)curl_easy_setopt(c->curl, CURLOPT_USERAGENT, "satchelctl/" SATCHEL_VERSION);
    if (c->connect_to) {
        (void)curl_easy_setopt(c->curl, CURLOPT_CONNECT_TO, c->connect_to);
        (void)curl_easy_setopt(c->curl, CURLOPT_NOPROXY, "*");
    }
    if (q->body) {
        (void)curl_easy_setopt(c->curl, CURLOPT_POSTFIELDS, q->body);
        (void)curl_easy_setopt(c->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->size);
    }
}

int client_call(struct client *c, const struct client_request *q, cJSON **ret) {
    cleanup(buf) struct buf url = {0}, answer = {.max = CLIENT_ANSWER_MAX, .secret = true};
    struct curl_slist *headers = NULL;
    cJSON_Delete(c->problem);
    c->problem = NULL;
    int r = access(c->ca, R_OK) < 0 ? err_errno("cannot read %s", c->ca) : 0;
    if (r == 0)
        r = buf_printf(&url, "%s%s", c->base, q->path);
    if (r == 0)
        r = client_headers(c, q, &headers);
    if (r < 0)
        return r;
    client_options(c, q, url.data, headers, &answer);
    CURLcode code = curl_easy_perform(c->curl);
    for (struct curl_slist *h = headers; h; h = h->next)
        explicit_bzero(h->data, strlen(h->data));
    curl_slist_free_all(headers);
    if (code != CURLE_OK)
        return client_curl_error(code, c->base);
    long status = 0;
    (void)curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status < 200 || status > 299)
        return client_refused(c, status, &answer);
    cJSON *json = NULL;
    if (answer.len && (json = cJSON_ParseWithLength(answer.data, answer.len)) == NULL)
        return err_set(ERR_PROTOCOL, "%s does not answer with JSON", c->base);
    *ret = json;
    return 0;
}

const cJSON *client_problem(const struct client *c) {
    return c->problem;
}

int client_get(struct client *c, const char *path, cJSON **ret) {
    return client_call(c, &(struct client_request){.method = "GET", .path = path}, ret);
}

int client_post(struct client *c, const char *path, cJSON *body, cJSON **ret) {
    char *text = body ? json_print(body) : NULL;
    cJSON_Delete(body);
    if (!text)
        return err_set(ERR_SYSTEM, "out of memory");
    const struct client_request request = {
        .method = "POST", .path = path, .body = text, .size = strlen(text)};
    int r = client_call(c, &request, ret);
    free(text);
    return r;
}

char *client_escape(struct client *c, const char *text) {
    char *escaped = curl_easy_escape(c->curl, text, 0);
    char *copy = escaped ? strdup(escaped) : NULL;
    curl_free(escaped);
    return copy;
}

/* What a page's "next" says for the next request's "after"; NULL at the end. */
static char *client_next(struct client *c, const cJSON *page) {
    char number[32];
    const cJSON *next = cJSON_GetObjectItemCaseSensitive(page, "next");
    if (cJSON_IsNumber(next))
        (void)snprintf(number, sizeof number, "%.0f", next->valuedouble);
    return cJSON_IsString(next)   ? client_escape(c, next->valuestring)
           : cJSON_IsNumber(next) ? strdup(number)
                                  : NULL;
}

int client_list(struct client *c, const char *path, const char *list, cJSON **ret) {
    cleanup(cJSON) cJSON *all = cJSON_CreateObject();
    cJSON *items = cJSON_CreateArray();
    int r = json_add_item(all, list, items);
    cleanup(free) char *after = NULL;
    while (r == 0) {
        cleanup(buf) struct buf at = {0};
        cleanup(cJSON) cJSON *page = NULL;
        r = buf_printf(&at, "%s?limit=%d%s%s", path, CLIENT_PAGE, after ? "&after=" : "", after ? after : "");
        if (r == 0)
            r = client_get(c, at.data, &page);
        cJSON *from = r == 0 ? cJSON_GetObjectItemCaseSensitive(page, list) : NULL;
        while (from && from->child)
            (void)cJSON_AddItemToArray(items, cJSON_DetachItemViaPointer(from, from->child));
        free(after);
        after = r == 0 ? client_next(c, page) : NULL;
        if (!after)
            break;
    }
    if (r == 0)
        *ret = steal(all);
    return r;
}

int client_path(struct client *c, const char *before, const char *word, const char *after, struct buf *ret) {
    cleanup(free) char *escaped = client_escape(c, word);
    return escaped ? buf_printf(ret, "%s%s%s", before, escaped, after) : err_set(ERR_SYSTEM, "out of memory");
}
