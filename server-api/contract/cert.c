#include "server-api/contract/cert.h"
#include "platform/base/cleanup.h"
#include "platform/base/encode.h"
#include "platform/base/err.h"

#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <time.h>

static inline void BIO_cleanup(BIO **bio) {
    BIO_free_all(*bio);
}

static inline void X509_REQ_cleanup(X509_REQ **request) {
    X509_REQ_free(*request);
}

static inline void X509_STORE_cleanup(X509_STORE **store) {
    X509_STORE_free(*store);
}

static inline void store_context_cleanup(X509_STORE_CTX **context) {
    X509_STORE_CTX_free(*context);
}

static int cert_take_bio(BIO *bio, struct buf *ret) {
    const char *data = NULL;
    long n = BIO_get_mem_data(bio, &data);
    return buf_add(ret, data, (size_t)n);
}

int cert_request(EVP_PKEY *key, struct buf *ret) {
    cleanup(X509_REQ) X509_REQ *request = X509_REQ_new();
    cleanup(BIO) BIO *bio = BIO_new(BIO_s_mem());
    if (!request || !bio || X509_REQ_set_version(request, 0) != 1 || X509_REQ_set_pubkey(request, key) != 1 ||
        X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(request), "CN", MBSTRING_ASC,
                                   (const unsigned char *)"satchel device", -1, -1, 0) != 1 ||
        X509_REQ_sign(request, key, EVP_sha256()) <= 0 || PEM_write_bio_X509_REQ(bio, request) != 1)
        return err_set(ERR_SYSTEM, "cannot make a certificate request");
    return cert_take_bio(bio, ret);
}

EVP_PKEY *cert_request_key(const char *pem, size_t n) {
    cleanup(BIO) BIO *bio = n <= CERT_PEM_MAX ? BIO_new_mem_buf(pem, (int)n) : NULL;
    cleanup(X509_REQ) X509_REQ *request = bio ? PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL) : NULL;
    EVP_PKEY *key = request ? X509_REQ_get0_pubkey(request) : NULL;
    if (!key || X509_REQ_verify(request, key) != 1) {
        (void)err_set(ERR_INVALID, "the certificate request is malformed or not signed by its own key");
        return NULL;
    }
    cleanup(buf) struct buf spki = {0};
    return key_spki(key, &spki) < 0 ? NULL : key_from_spki(spki.data, spki.len);
}

X509 *cert_from_pem(const char *pem, size_t n) {
    cleanup(BIO) BIO *bio = n <= CERT_PEM_MAX ? BIO_new_mem_buf(pem, (int)n) : NULL;
    X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    if (!cert)
        (void)err_set(ERR_INVALID, "not a PEM certificate");
    return cert;
}

int cert_pem(X509 *cert, struct buf *ret) {
    cleanup(BIO) BIO *bio = BIO_new(BIO_s_mem());
    if (!bio || PEM_write_bio_X509(bio, cert) != 1)
        return err_set(ERR_SYSTEM, "cannot write a certificate as PEM");
    return cert_take_bio(bio, ret);
}

char *cert_digest(X509 *cert) {
    unsigned char *der = NULL;
    int n = i2d_X509(cert, &der);
    if (n <= 0) {
        (void)err_set(ERR_INVALID, "a damaged certificate");
        return NULL;
    }
    unsigned char digest[SHA256_DIGEST_LENGTH];
    (void)SHA256(der, (size_t)n, digest);
    OPENSSL_free(der);
    return encode_hex(digest, sizeof digest);
}

int cert_key_fingerprint(X509 *cert, char ret[KEY_FINGERPRINT_SIZE]) {
    EVP_PKEY *key = X509_get0_pubkey(cert);
    return key ? key_fingerprint(key, ret) : err_set(ERR_INVALID, "a certificate without a usable key");
}

int cert_verify_client(X509 *cert, X509 *root, int64_t real_ms) {
    cleanup(X509_STORE) X509_STORE *store = X509_STORE_new();
    cleanup(store_context) X509_STORE_CTX *context = X509_STORE_CTX_new();
    if (!store || !context || X509_STORE_add_cert(store, root) != 1 ||
        X509_STORE_CTX_init(context, store, cert, NULL) != 1)
        return err_set(ERR_SIGNATURE, "cannot verify a certificate");
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(context);
    (void)X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_SSL_CLIENT);
    if (real_ms)
        X509_VERIFY_PARAM_set_time(param, (time_t)(real_ms / 1000));
    else
        (void)X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_NO_CHECK_TIME);
    if (X509_verify_cert(context) == 1)
        return 0;
    return err_set(ERR_SIGNATURE, "the certificate is not acceptable: %s",
                   X509_verify_cert_error_string(X509_STORE_CTX_get_error(context)));
}

static int64_t cert_time_ms(const ASN1_TIME *t) {
    struct tm tm;
    if (!t || ASN1_TIME_to_tm(t, &tm) != 1)
        return err_set(ERR_INVALID, "a certificate with a damaged date");
    return (int64_t)timegm(&tm) * 1000;
}

int64_t cert_not_after(X509 *cert) {
    return cert_time_ms(X509_get0_notAfter(cert));
}

int64_t cert_not_before(X509 *cert) {
    return cert_time_ms(X509_get0_notBefore(cert));
}

int64_t cert_renew_at(X509 *cert) {
    int64_t from = cert_not_before(cert), to = cert_not_after(cert);
    if (from < 0 || to < 0)
        return ERR_INVALID;
    from += INT64_C(1000) * CERT_SKEW_S;
    return to - (to - from) / 3;
}
