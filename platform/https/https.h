/*
 * HTTPS requests with JSON, over libcurl. One `struct https` is one conversation with one server: it keeps
 * its connection, trusts exactly one root certificate and may have a client certificate. Blocking, one thread
 * at a time; a cancel descriptor ends a request at once.
 */
#ifndef SATCHEL_HTTPS_HTTPS_H
#define SATCHEL_HTTPS_HTTPS_H

#include "platform/base/buf.h"

#include <cjson/cJSON.h>
#include <stdint.h>

#define HTTPS_BODY_MAX ((size_t)4 << 20)

struct https;

struct https_settings {
    const char *base;          /* https://HOST:PORT */
    const char *root_pem;      /* the only certificate that is trusted */
    const char *cert_pem;      /* client certificate, or NULL */
    const struct buf *key_pem; /* its private key; copied, cleared in https_free() */
};

/* Called once per process before any thread is started. */
int https_init(void);

int https_new(const struct https_settings *settings, struct https **ret);
struct https *https_free(struct https *h);
static inline void https_cleanup(struct https **h) {
    (void)https_free(*h);
}

struct https_request {
    const char *method; /* "GET", "POST" */
    const char *path;   /* with the query */
    const cJSON *body;  /* or NULL */
    int64_t deadline;   /* clock_boot_ms() */
    int cancel;         /* descriptor that ends the request when it becomes readable, or -1 */
    const char *bearer; /* token of an Authorization header, or NULL */
    const char *header; /* one of the answer that is wanted, or NULL */
    char *ret_header;   /* its value, "" where it is absent or does not fit */
    size_t header_size; /* of ret_header */
};

/*
 * Performs the request. 0 with the status and, where the answer is JSON, its body (else NULL).
 * ERR_UNREACHABLE, ERR_TIMEOUT, ERR_CANCELED, ERR_TLS for a server whose certificate does not lead to the
 * root, ERR_PROTOCOL for an answer that makes no sense.
 */
int https_perform(struct https *h, const struct https_request *request, int *ret_status, cJSON **ret_body);

/* "title: detail" of a problem document (RFC 9457), or the bare status. */
void https_problem(int status, const cJSON *body, char *out, size_t size);

/*
 * The certificates that the server at `base` presents, as PEM one behind the other, leaf first, NOT verified:
 * what they are worth is for the caller to find out. ERR_UNREACHABLE, ERR_TLS where it does not speak TLS.
 */
int https_chain(const char *base, int64_t deadline, int cancel, struct buf *ret_pem);

#endif
