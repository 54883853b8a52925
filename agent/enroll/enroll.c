#include "agent/enroll/enroll.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/base/json.h"
#include "platform/https/https.h"
#include "server-api/contract/cert.h"
#include "server-api/contract/report.h"
#include "server-api/contract/trust.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#define ENROLL_TIMEOUT_MS 30000

static const char enroll_pem_begin[] = "-----BEGIN CERTIFICATE-----";

/* The certificate in the chain whose key has the pinned fingerprint. */
static int enroll_find_root(const struct buf *chain, const struct link *link, struct buf *ret_pem) {
    char seen[KEY_FINGERPRINT_SIZE] = "";
    for (const char *p = chain->data; p && (p = strstr(p, enroll_pem_begin)); p++) {
        cleanup(X509) X509 *cert = cert_from_pem(p, strlen(p));
        if (!cert || cert_key_fingerprint(cert, seen) < 0)
            continue;
        if (strcmp(seen, link->fingerprint) == 0)
            return cert_pem(cert, ret_pem);
    }
    return err_set(ERR_REFUSED,
                   "refused: the fingerprint in the link does not match the certificate that %s presents "
                   "(link %s, server "
                   "%s). Either the link was altered, or this is not your organization's server. Nothing was "
                   "stored; ask "
                   "your administrator for a new link",
                   link->base, link->fingerprint, seen[0] ? seen : "none");
}

static cJSON *enroll_request(const struct link *link, EVP_PKEY *key) {
    struct utsname name;
    if (uname(&name) < 0)
        return NULL;
    char os[200];
    (void)snprintf(os, sizeof os, "%.60s %.100s", name.sysname, name.release);
    cleanup(buf) struct buf csr = {0};
    cleanup(cJSON) cJSON *body = cJSON_CreateObject();
    cJSON *device = cJSON_CreateObject();
    const char *const values[ENROLL_FIELDS] = {
        [ENROLL_NAME] = name.nodename, [ENROLL_OS] = os, [ENROLL_AGENT_VERSION] = SATCHEL_VERSION};
    int r = json_add_item(body, "device", device);
    for (int i = 0; r == 0 && i < ENROLL_FIELDS; i++)
        r = json_add_str(device, enroll_members[i].key, values[i]);
    if (r == 0)
        r = cert_request(key, &csr);
    if (r < 0 || json_add_str(body, "code", link->code) < 0 || json_add_str(body, "csr", csr.data) < 0)
        return NULL;
    return steal(body);
}

/* The certificate must be for our key, by the pinned root. */
static int enroll_check_certificate(const char *pem, EVP_PKEY *key, X509 *root) {
    char ours[KEY_FINGERPRINT_SIZE], theirs[KEY_FINGERPRINT_SIZE];
    cleanup(X509) X509 *cert = cert_from_pem(pem, strlen(pem));
    if (!cert)
        return err_set(ERR_PROTOCOL, "the server sent no usable certificate");
    int r = cert_key_fingerprint(cert, theirs);
    if (r == 0)
        r = key_fingerprint(key, ours);
    if (r == 0 && strcmp(ours, theirs) != 0)
        r = err_set(ERR_PROTOCOL, "the server sent a certificate for another key");
    /* Dates are not looked at: a laptop whose clock is wrong can be enrolled, TLS tells when it matters. */
    return r < 0 ? r : cert_verify_client(cert, root, 0);
}

static int enroll_copy(const cJSON *object, const char *key, char *out, size_t size) {
    const char *text;
    int r = json_need_str(object, key, size - 1, &text);
    if (r == 0)
        (void)snprintf(out, size, "%s", text);
    return r;
}

static int enroll_read(const cJSON *body, EVP_PKEY *key, X509 *root, struct enrollment *e) {
    struct device *d = &e->device;
    const cJSON *user = json_object(body, "user"), *trust = json_object(body, "trust");
    const char *pem;
    int r = json_need_str(body, "certificate", CERT_PEM_MAX, &pem);
    if (r == 0)
        r = enroll_check_certificate(pem, key, root);
    if (r == 0)
        r = buf_add_str(&e->cert_pem, pem);
    if (r == 0)
        r = enroll_copy(body, "device", d->id, sizeof d->id);
    if (r == 0)
        r = enroll_copy(user, "login", d->login, sizeof d->login);
    if (r == 0)
        r = enroll_copy(user, "address", d->address, sizeof d->address);
    if (r == 0)
        r = enroll_copy(user, "name", d->name, sizeof d->name);
    if (r < 0)
        return r;
    struct trust t;
    r = trust_open(trust, X509_get0_pubkey(root), &t);
    if (r < 0)
        return r;
    d->trust_version = t.version;
    (void)snprintf(d->organization, sizeof d->organization, "%s", t.organization);
    trust_finish(&t);
    d->trust = cJSON_Duplicate(trust, true);
    return d->trust ? 0 : err_set(ERR_SYSTEM, "out of memory");
}

/* What a person is told about an answer that is not 201. */
static int enroll_refused(const struct link *link, int status, const cJSON *body) {
    const char *type = json_str(body, "type"), *kind = type ? strrchr(type, ':') : NULL;
    if (kind && strcmp(kind, ":code-used") == 0)
        return err_set(
            ERR_REFUSED,
            "refused: this enrollment link has already been used. Each link enrolls one device, once; "
            "ask your administrator for a new one");
    if (kind && strcmp(kind, ":code-expired") == 0)
        return err_set(ERR_REFUSED,
                       "refused: this enrollment link has expired. Ask your administrator for a new one");
    if (kind && strcmp(kind, ":code-unknown") == 0)
        return err_set(
            ERR_REFUSED,
            "refused: %s does not know the code in this link. Check that you copied the whole link",
            link->base);
    char text[300];
    https_problem(status, body, text, sizeof text);
    if (status >= 500 || status == 429)
        return err_set(ERR_UNREACHABLE, "%s cannot enroll the device at the moment (%s); try again later",
                       link->base, text);
    return err_set(ERR_REFUSED, "refused by %s: %s", link->base, text);
}

static int enroll_exchange(const struct link *link, EVP_PKEY *key, const char *root_pem, int cancel,
                           cJSON **ret_body) {
    cleanup(https) struct https *h = NULL;
    int r = https_new(&(struct https_settings){.base = link->base, .root_pem = root_pem}, &h);
    if (r < 0)
        return r;
    cleanup(cJSON) cJSON *request = enroll_request(link, key), *body = NULL;
    if (!request)
        return err_set(ERR_SYSTEM, "cannot make the enrollment request");
    int status = 0;
    r = https_perform(h,
                      &(struct https_request){.method = "POST",
                                              .path = "/v1/enroll",
                                              .body = request,
                                              .deadline = clock_boot_ms() + ENROLL_TIMEOUT_MS,
                                              .cancel = cancel},
                      &status, &body);
    if (r == ERR_TLS)
        return err_set(ERR_TLS,
                       "refused: the certificate of %s was not issued by the organization that the link "
                       "names, so this is "
                       "another server or somebody in between. Nothing was sent and nothing was stored",
                       link->base);
    if (r < 0)
        return r;
    if (status != 201)
        return enroll_refused(link, status, body);
    *ret_body = steal(body);
    return 0;
}

int enroll_run(const struct link *link, EVP_PKEY *key, int cancel, struct enrollment *ret) {
    cleanup(buf) struct buf chain = {0}, root_pem = {0};
    cleanup(cJSON) cJSON *body = NULL;
    int r = https_chain(link->base, clock_boot_ms() + ENROLL_TIMEOUT_MS, cancel, &chain);
    if (r == ERR_TLS)
        return err_set(ERR_TLS,
                       "refused: %s does not present a certificate of your organization. Nothing was stored",
                       link->base);
    if (r == 0)
        r = enroll_find_root(&chain, link, &root_pem);
    if (r == 0)
        r = enroll_exchange(link, key, root_pem.data, cancel, &body);
    cleanup(X509) X509 *root = r == 0 ? cert_from_pem(root_pem.data, root_pem.len) : NULL;
    if (!root)
        return r < 0 ? r : ERR_INVALID;
    struct enrollment e = {.device.state = DEVICE_ENROLLED};
    r = enroll_read(body, key, root, &e);
    if (r == 0 && !(e.device.root_pem = buf_steal(&root_pem)))
        r = err_set(ERR_SYSTEM, "out of memory");
    if (r < 0) {
        enroll_finish(&e);
        return err_context(r == ERR_INVALID ? ERR_PROTOCOL : r, "the answer to the enrollment");
    }
    (void)snprintf(e.device.server, sizeof e.device.server, "%s", link->base);
    (void)snprintf(e.device.fingerprint, sizeof e.device.fingerprint, "%s", link->fingerprint);
    *ret = e;
    return 0;
}

void enroll_finish(struct enrollment *e) {
    device_finish(&e->device);
    buf_finish(&e->cert_pem);
}
