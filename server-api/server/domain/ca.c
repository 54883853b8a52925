#include "server-api/server/domain/ca.h"
#include "platform/base/cleanup.h"
#include "platform/base/encode.h"
#include "platform/base/err.h"

#include <arpa/inet.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define CA_DAY INT64_C(86400)

struct ca_subject {
    const char *organization, *common_name;
};

static int ca_name(X509_NAME *name, const struct ca_subject *subject) {
    return X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8, (const unsigned char *)subject->organization,
                                      -1, -1, 0) == 1 &&
                   X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                              (const unsigned char *)subject->common_name, -1, -1, 0) == 1
               ? 0
               : ERR_SYSTEM;
}

static int ca_extension(X509 *cert, X509 *issuer, int nid, const char *value) {
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    int ok = extension && X509_add_ext(cert, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return ok ? 0 : ERR_SYSTEM;
}

/* Version, a random serial number, dates, subject and key; `issuer` NULL for the root. */
static X509 *ca_begin(X509 *issuer, EVP_PKEY *key, const struct ca_subject *subject, int64_t seconds) {
    unsigned char serial[16];
    random_bytes(serial, sizeof serial);
    serial[0] = (unsigned char)((serial[0] & 0x7f) | 0x40); /* positive, and always of 16 bytes */
    BIGNUM *number = BN_bin2bn(serial, sizeof serial, NULL);
    cleanup(X509) X509 *cert = X509_new();
    int64_t now = time(NULL);
    int ok = cert && number && X509_set_version(cert, X509_VERSION_3) == 1 &&
             BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert)) &&
             ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)(now - CERT_SKEW_S)) &&
             ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)(now + seconds)) &&
             X509_set_pubkey(cert, key) == 1 && ca_name(X509_get_subject_name(cert), subject) == 0 &&
             X509_set_issuer_name(cert, X509_get_subject_name(issuer ? issuer : cert)) == 1;
    BN_free(number);
    if (!ok)
        return NULL;
    return steal(cert);
}

static X509 *ca_finish(X509 *cert, EVP_PKEY *root_key, int failed) {
    if (cert && !failed && X509_sign(cert, root_key, EVP_sha256()) > 0)
        return cert;
    X509_free(cert);
    (void)err_set(ERR_SYSTEM, "cannot make a certificate");
    return NULL;
}

X509 *ca_root(EVP_PKEY *key, const char *organization) {
    const struct ca_subject subject = {organization, "Satchel root"};
    X509 *cert = ca_begin(NULL, key, &subject, 20 * 365 * CA_DAY);
    int failed = !cert || ca_extension(cert, cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") < 0 ||
                 ca_extension(cert, cert, NID_key_usage, "critical,keyCertSign,cRLSign") < 0 ||
                 ca_extension(cert, cert, NID_subject_key_identifier, "hash") < 0;
    return ca_finish(cert, key, failed);
}

static int ca_leaf(X509 *cert, X509 *root, const char *usage) {
    return ca_extension(cert, root, NID_basic_constraints, "critical,CA:FALSE") < 0 ||
                   ca_extension(cert, root, NID_key_usage, "critical,digitalSignature") < 0 ||
                   ca_extension(cert, root, NID_ext_key_usage, usage) < 0 ||
                   ca_extension(cert, root, NID_subject_key_identifier, "hash") < 0 ||
                   ca_extension(cert, root, NID_authority_key_identifier, "keyid:always") < 0
               ? ERR_SYSTEM
               : 0;
}

X509 *ca_server(X509 *root, EVP_PKEY *root_key, EVP_PKEY *key, const char *host) {
    unsigned char address[16];
    char names[512];
    bool ip = inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
    if (host[strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.:")]) {
        (void)err_set(ERR_INVALID, "%s is not a usable host name", host);
        return NULL;
    }
    (void)snprintf(names, sizeof names, "%s:%s,DNS:localhost,IP:127.0.0.1,IP:::1", ip ? "IP" : "DNS", host);
    const struct ca_subject subject = {"Satchel", "satchel-server"};
    X509 *cert = ca_begin(root, key, &subject, 2 * 365 * CA_DAY);
    int failed = !cert || ca_leaf(cert, root, "serverAuth") < 0 ||
                 ca_extension(cert, root, NID_subject_alt_name, names) < 0;
    return ca_finish(cert, root_key, failed);
}

X509 *ca_device(X509 *root, EVP_PKEY *root_key, EVP_PKEY *key, const char *organization, const char *id,
                int64_t seconds) {
    const struct ca_subject subject = {organization, id};
    X509 *cert = ca_begin(root, key, &subject, seconds);
    return ca_finish(cert, root_key, !cert || ca_leaf(cert, root, "clientAuth") < 0);
}
