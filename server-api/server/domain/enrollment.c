#include "server-api/server/domain/enrollment.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/encode.h"
#include "platform/base/err.h"
#include "platform/base/json.h"
#include "server-api/server/domain/audit.h"
#include "server-api/server/domain/hash.h"
#include "server-api/server/domain/text.h"

#include <stdio.h>
#include <string.h>

#define CODE_BYTES 24                             /* 192 bits */
#define CODE_KEPT_MS (INT64_C(30) * 86400 * 1000) /* after it expired: then it is unknown */
#define RENEWALS_UNUSED_MAX 4

struct code_creation {
    const char *actor;
    const struct store_code *code;
};

static int code_create_body(struct store_tx *tx, void *arg) {
    const struct code_creation *c = arg;
    struct store_user user;
    int r = store_user_get(tx, c->code->login, &user);
    if (r == 0)
        r = store_code_prune(tx, c->code->created_at - CODE_KEPT_MS);
    if (r == 0)
        r = store_code_add(tx, c->code);
    return r < 0 ? r
                 : audit_add(tx, c->actor, "enrollment-code.created", c->code->id,
                             audit_detail("login", c->code->login));
}

int enrollment_code_create(struct store *s, struct organization *o, const char *actor, const char *login,
                           int64_t seconds, struct enrollment_code *ret) {
    unsigned char raw[CODE_BYTES];
    random_bytes(raw, sizeof raw);
    char *text = encode_base64url(raw, sizeof raw);
    explicit_bzero(raw, sizeof raw);
    if (!text)
        return err_set(ERR_SYSTEM, "out of memory");
    struct store_code code = {.created_at = clock_real_ms()};
    (void)random_id(code.id);
    code.expires_at = code.created_at + seconds * 1000;
    (void)snprintf(code.login, sizeof code.login, "%s", login);
    hash_text(text, code.hash);
    struct code_creation creation = {.actor = actor, .code = &code};
    int r = strlen(login) > USER_LOGIN_MAX ? err_set(ERR_NOT_FOUND, "no such user")
                                           : store_write(s, code_create_body, &creation);
    if (r == 0) {
        memcpy(ret->id, code.id, sizeof ret->id);
        ret->expires_at = code.expires_at;
        (void)snprintf(ret->link, sizeof ret->link, "%s/enroll/%s#%s", o->public_url, text, o->fingerprint);
    }
    explicit_bzero(text, strlen(text));
    free(text);
    return r;
}

void enrollment_finish(struct enrollment *e) {
    buf_finish(&e->certificate);
}

struct redemption {
    const char *hash;
    int64_t now;
    const struct store_device *device;           /* all but its login, which the code tells */
    const struct store_certificate *certificate; /* NULL while the code is only looked at */
    const char *pem;
    struct store_user user;
};

/* 0, a negative code, or what is wrong with the code. */
static int redemption_check(struct store_tx *tx, void *arg) {
    struct redemption *d = arg;
    struct store_code code;
    int r = store_code_get(tx, d->hash, &code);
    if (r < 0)
        return r == ERR_NOT_FOUND ? ENROLLMENT_CODE_UNKNOWN : r;
    if (code.used_at)
        return ENROLLMENT_CODE_USED;
    if (code.expires_at <= d->now)
        return ENROLLMENT_CODE_EXPIRED;
    return store_user_get(tx, code.login, &d->user);
}

static int redemption_body(struct store_tx *tx, void *arg) {
    struct redemption *d = arg;
    int r = redemption_check(tx, d);
    if (r != 0)
        return r;
    struct store_device device = *d->device;
    memcpy(device.login, d->user.login, sizeof device.login);
    if ((r = store_code_use(tx, d->hash, d->now)) < 0 || (r = store_device_add(tx, &device)) < 0 ||
        (r = store_certificate_add(tx, d->certificate, d->pem)) < 0)
        return r;
    char actor[STORE_ACTOR_SIZE];
    (void)snprintf(actor, sizeof actor, "device:%s", device.id);
    return audit_add(tx, actor, "device.enrolled", device.id, audit_detail("login", device.login));
}

static bool enrollment_code_ok(const char *code) {
    return strlen(code) == LINK_CODE_SIZE - 1 &&
           !code[strspn(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")];
}

static int enrollment_device(const struct enrollment_request *request, struct store_device *ret) {
    int r = text_check("device name", request->name, DEVICE_NAME_MAX);
    if (r == 0)
        r = text_check("os", request->os, DEVICE_OS_MAX);
    if (r == 0)
        r = text_check("agent_version", request->agent_version, DEVICE_AGENT_MAX);
    if (r < 0)
        return r;
    (void)snprintf(ret->name, sizeof ret->name, "%s", request->name);
    (void)snprintf(ret->os, sizeof ret->os, "%s", request->os);
    (void)snprintf(ret->agent_version, sizeof ret->agent_version, "%s", request->agent_version);
    return 0;
}

int enrollment_enroll(struct store *s, struct organization *o, const struct enrollment_request *request,
                      struct enrollment *ret) {
    char hash[STORE_HASH_SIZE];
    if (!enrollment_code_ok(request->code))
        return ENROLLMENT_CODE_MALFORMED;
    hash_text(request->code, hash);
    struct store_device device = {.state = DEVICE_ENROLLED};
    int r = enrollment_device(request, &device);
    if (r < 0)
        return r;
    (void)random_id(device.id);
    device.enrolled_at = device.last_seen = clock_real_ms();
    struct redemption d = {.hash = hash, .now = device.enrolled_at, .device = &device};
    r = store_read(s, redemption_check, &d); /* before the expensive part, which nobody gets for nothing */
    if (r != 0)
        return r;
    cleanup(EVP_PKEY) EVP_PKEY *key = cert_request_key(request->csr, strlen(request->csr));
    if (!key)
        return ENROLLMENT_CSR_INVALID;
    struct store_certificate certificate = {.issued_at = d.now, .first_used_at = d.now};
    memcpy(certificate.device, device.id, sizeof certificate.device);
    cleanup(buf) struct buf pem = {0};
    r = organization_issue(o, key, device.id, &pem, certificate.digest, &certificate.expires_at);
    if (r < 0)
        return r;
    d.certificate = &certificate;
    d.pem = pem.data;
    r = store_write(s, redemption_body, &d);
    if (r != 0)
        return r;
    memcpy(ret->device, device.id, sizeof ret->device);
    ret->certificate = pem;
    pem = (struct buf){0};
    ret->user = d.user;
    return 0;
}

struct renewal {
    const struct store_certificate *certificate;
    EVP_PKEY *key;
    const char *pem;
    struct buf *given; /* one for this key that is fresh; empty: none */
};

static int renewal_look(const char *pem, void *arg) {
    const struct renewal *n = arg;
    cleanup(X509) X509 *cert = cert_from_pem(pem, strlen(pem));
    if (n->given->len || !cert || EVP_PKEY_eq(X509_get0_pubkey(cert), n->key) != 1 ||
        cert_renew_at(cert) <= n->certificate->issued_at)
        return 0;
    return buf_add_str(n->given, pem);
}

static int renewal_body(struct store_tx *tx, void *arg) {
    const struct renewal *n = arg;
    int64_t unused = 0;
    int r = store_certificate_each_unrevoked(tx, n->certificate->device, renewal_look, arg);
    if (r == 0)
        r = store_certificate_unused(tx, n->certificate->device, &unused);
    if (r < 0 || n->given->len)
        return r;
    if (unused >= RENEWALS_UNUSED_MAX)
        return err_set(ERR_WRONG_STATE, "the device has renewed certificates that it has not used yet");
    r = store_certificate_add(tx, n->certificate, n->pem);
    if (r < 0)
        return r;
    char actor[STORE_ACTOR_SIZE];
    (void)snprintf(actor, sizeof actor, "device:%s", n->certificate->device);
    return audit_add(tx, actor, "device.certificate-renewed", n->certificate->device,
                     audit_detail("digest", n->certificate->digest));
}

int enrollment_renew(struct store *s, struct organization *o, const char *device, const char *csr,
                     struct buf *ret_pem) {
    cleanup(EVP_PKEY) EVP_PKEY *key = cert_request_key(csr, strlen(csr));
    if (!key)
        return ERR_INVALID;
    struct store_certificate certificate = {.issued_at = clock_real_ms()};
    (void)snprintf(certificate.device, sizeof certificate.device, "%s", device);
    cleanup(buf) struct buf pem = {0};
    int r = organization_issue(o, key, device, &pem, certificate.digest, &certificate.expires_at);
    if (r < 0)
        return r;
    cleanup(buf) struct buf given = {0};
    struct renewal renewal = {.certificate = &certificate, .key = key, .pem = pem.data, .given = &given};
    r = store_write(s, renewal_body, &renewal);
    const struct buf *from = given.len ? &given : &pem;
    return r < 0 ? r : buf_add(ret_pem, from->data, from->len);
}
