#include "platform/https/https.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/base/json.h"

#include <curl/curl.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define HTTPS_CONNECT_MS 15000L

struct https {
    CURLM *multi;
    CURL *easy;
    char base[300];
    struct buf root, cert, key;
    char error[CURL_ERROR_SIZE];
};

static inline void slist_cleanup(struct curl_slist **list) {
    curl_slist_free_all(*list);
}

static inline void CURL_cleanup(CURL **easy) {
    curl_easy_cleanup(*easy);
}

static inline void CURLM_cleanup(CURLM **multi) {
    curl_multi_cleanup(*multi);
}

int https_init(void) {
    return curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK
               ? 0
               : err_set(ERR_SYSTEM, "cannot initialize libcurl");
}

int https_new(const struct https_settings *settings, struct https **ret) {
    struct https *h = calloc(1, sizeof *h);
    if (!h)
        return err_errno("cannot allocate");
    h->key.secret = true;
    h->easy = curl_easy_init();
    h->multi = curl_multi_init();
    int r = h->easy && h->multi ? buf_add_str(&h->root, settings->root_pem)
                                : err_set(ERR_SYSTEM, "out of memory");
    if (r == 0 && (size_t)snprintf(h->base, sizeof h->base, "%s", settings->base) >= sizeof h->base)
        r = err_set(ERR_INVALID, "the server's address is too long");
    if (r == 0 && settings->cert_pem)
        r = buf_add_str(&h->cert, settings->cert_pem);
    if (r == 0 && settings->cert_pem)
        r = buf_add(&h->key, settings->key_pem->data, settings->key_pem->len);
    if (r < 0) {
        (void)https_free(h);
        return r;
    }
    *ret = h;
    return 0;
}

struct https *https_free(struct https *h) {
    if (!h)
        return NULL;
    curl_easy_cleanup(h->easy);
    curl_multi_cleanup(h->multi);
    buf_finish(&h->root);
    buf_finish(&h->cert);
    buf_finish(&h->key);
    free(h);
    return NULL;
}

static size_t https_take(char *data, size_t size, size_t n, void *context) {
    return buf_add(context, data, size * n) == 0 ? size * n : 0;
}

static int https_error(CURLcode code, const char *base, const char *detail) {
    const char *text = detail[0] ? detail : curl_easy_strerror(code);
    switch (code) {
    case CURLE_OK:
        return 0;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_INVALIDCERTSTATUS:
        return err_set(ERR_TLS, "%s: %s", base, text);
    case CURLE_OPERATION_TIMEDOUT:
        return err_set(ERR_TIMEOUT, "%s does not answer in time", base);
    case CURLE_WRITE_ERROR:
        return err_set(ERR_PROTOCOL, "%s sent an answer over %zu bytes", base, HTTPS_BODY_MAX);
    default:
        return err_set(ERR_UNREACHABLE, "%s is not reachable: %s", base, text);
    }
}

/* Drives one transfer to its end. A blocking call that a descriptor can end needs the multi interface. */
static int https_drive(CURLM *multi, CURL *easy, int cancel, CURLcode *ret_code) {
    if (curl_multi_add_handle(multi, easy) != CURLM_OK)
        return err_set(ERR_SYSTEM, "cannot start a request");
    int r = 0, running = 1;
    while (r == 0 && running) {
        struct curl_waitfd extra = {.fd = cancel, .events = CURL_WAIT_POLLIN};
        if (curl_multi_perform(multi, &running) != CURLM_OK)
            r = err_set(ERR_SYSTEM, "cannot go on with a request");
        else if (running && curl_multi_poll(multi, cancel >= 0 ? &extra : NULL, cancel >= 0 ? 1 : 0, 1000,
                                            NULL) != CURLM_OK)
            r = err_set(ERR_SYSTEM, "cannot wait for an answer");
        else if (running && cancel >= 0 && extra.revents)
            r = err_set(ERR_CANCELED, "canceled");
    }
    int left;
    const CURLMsg *message = r == 0 ? curl_multi_info_read(multi, &left) : NULL;
    CURLcode code = message && message->msg == CURLMSG_DONE ? message->data.result : CURLE_FAILED_INIT;
    (void)curl_multi_remove_handle(multi, easy);
    if (r == 0)
        *ret_code = code;
    return r;
}

static long https_left(int64_t deadline) {
    int left = clock_left(deadline);
    return left < 0 ? 0 : left == 0 ? 1 : left;
}

static void https_setup(CURL *easy, const char *url, int64_t deadline, char *error) {
    (void)curl_easy_setopt(easy, CURLOPT_URL, url);
    (void)curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "https");
    (void)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, error);
    (void)curl_easy_setopt(easy, CURLOPT_USERAGENT, "satchel/" SATCHEL_VERSION);
    (void)curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    (void)curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    (void)curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, HTTPS_CONNECT_MS);
    (void)curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, https_left(deadline));
    (void)curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, 30L);
    (void)curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, 10L);
}

static void https_blob(CURL *easy, CURLoption option, const struct buf *b) {
    struct curl_blob blob = {.data = b->data, .len = b->len, .flags = CURL_BLOB_NOCOPY};
    (void)curl_easy_setopt(easy, option, &blob);
}

static int https_headers(const struct https_request *request, struct curl_slist **ret) {
    char line[2048];
    struct curl_slist *list = curl_slist_append(NULL, "Accept: application/json"), *next = list;
    if (next && request->body)
        next = curl_slist_append(list, "Content-Type: application/json");
    if (next && request->bearer) {
        (void)snprintf(line, sizeof line, "Authorization: Bearer %s", request->bearer);
        next = curl_slist_append(list, line);
        explicit_bzero(line, sizeof line);
    }
    if (!next) {
        curl_slist_free_all(list);
        return err_set(ERR_SYSTEM, "out of memory");
    }
    *ret = list;
    return 0;
}

/*
 * The dates of the server's certificate are not looked at: the root is pinned, and this device's clock may be
 * wrong, or may have been set wrong, which must not keep an order away. What the server says is signed by
 * keys of its own.
 */
static CURLcode https_ignore_dates(CURL *easy, void *context, void *userdata) {
    (void)easy;
    (void)userdata;
    return X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context), X509_V_FLAG_NO_CHECK_TIME) == 1
               ? CURLE_OK
               : CURLE_ABORTED_BY_CALLBACK;
}

static void https_want_header(CURL *easy, const struct https_request *request) {
    struct curl_header *header = NULL;
    if (!request->header)
        return;
    request->ret_header[0] = '\0';
    if (curl_easy_header(easy, request->header, 0, CURLH_HEADER, -1, &header) == CURLHE_OK &&
        strlen(header->value) < request->header_size)
        (void)snprintf(request->ret_header, request->header_size, "%s", header->value);
}

int https_perform(struct https *h, const struct https_request *request, int *ret_status, cJSON **ret_body) {
    char url[2048];
    if ((size_t)snprintf(url, sizeof url, "%s%s", h->base, request->path) >= sizeof url)
        return err_set(ERR_INVALID, "the address of a request is too long");
    cleanup(free) char *body = request->body ? json_print(request->body) : NULL;
    cleanup(slist) struct curl_slist *headers = NULL;
    int r = https_headers(request, &headers);
    if (r < 0)
        return r;
    cleanup(buf) struct buf answer = {.max = HTTPS_BODY_MAX};
    CURL *easy = h->easy;
    curl_easy_reset(easy);
    h->error[0] = '\0';
    https_setup(easy, url, request->deadline, h->error);
    https_blob(easy, CURLOPT_CAINFO_BLOB, &h->root);
    (void)curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, https_ignore_dates);
    if (h->cert.len) {
        https_blob(easy, CURLOPT_SSLCERT_BLOB, &h->cert);
        https_blob(easy, CURLOPT_SSLKEY_BLOB, &h->key);
    }
    (void)curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, https_take);
    (void)curl_easy_setopt(easy, CURLOPT_WRITEDATA, &answer);
    if (body)
        (void)curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
    (void)curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
    CURLcode code = CURLE_OK;
    r = https_drive(h->multi, easy, request->cancel, &code);
    if (r == 0)
        r = https_error(code, h->base, h->error);
    if (r < 0)
        return r;
    long status = 0;
    const char *type = NULL;
    (void)curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    (void)curl_easy_getinfo(easy, CURLINFO_CONTENT_TYPE, &type);
    cJSON *json = NULL;
    if (answer.len && type && strstr(type, "json") && json_parse(answer.data, answer.len, &json) < 0)
        return err_set(ERR_PROTOCOL, "%s sent an answer that is not valid JSON", h->base);
    https_want_header(easy, request);
    *ret_status = (int)status;
    *ret_body = json;
    return 0;
}

void https_problem(int status, const cJSON *body, char *out, size_t size) {
    const char *title = json_str(body, "title"), *detail = json_str(body, "detail");
    if (title && detail)
        (void)snprintf(out, size, "%s: %s", title, detail);
    else if (title || detail)
        (void)snprintf(out, size, "%s", title ? title : detail);
    else
        (void)snprintf(out, size, "the server answered with status %d", status);
}

static int https_read_chain(CURL *easy, struct buf *ret_pem) {
    struct curl_certinfo *info = NULL;
    if (curl_easy_getinfo(easy, CURLINFO_CERTINFO, &info) != CURLE_OK || !info || info->num_of_certs < 1)
        return err_set(ERR_TLS, "the server presented no certificate");
    for (int i = 0; i < info->num_of_certs && i < 8; i++)
        for (const struct curl_slist *line = info->certinfo[i]; line; line = line->next)
            if (strncmp(line->data, "Cert:", 5) == 0) {
                int r = buf_printf(ret_pem, "%s\n", line->data + 5);
                if (r < 0)
                    return r;
            }
    return 0;
}

int https_chain(const char *base, int64_t deadline, int cancel, struct buf *ret_pem) {
    cleanup(CURLM) CURLM *multi = curl_multi_init();
    cleanup(CURL) CURL *easy = curl_easy_init();
    char error[CURL_ERROR_SIZE] = "";
    if (!multi || !easy)
        return err_set(ERR_SYSTEM, "out of memory");
    https_setup(easy, base, deadline, error);
    (void)curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_CERTINFO, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
    (void)curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    CURLcode code = CURLE_OK;
    int r = https_drive(multi, easy, cancel, &code);
    if (r == 0)
        r = https_error(code, base, error);
    return r < 0 ? r : https_read_chain(easy, ret_pem);
}
