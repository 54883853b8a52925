#include "server-api/contract/key.h"
#include "platform/base/cleanup.h"
#include "platform/base/encode.h"
#include "platform/base/err.h"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <string.h>

static inline void BIO_cleanup(BIO **bio) {
    BIO_free_all(*bio);
}

static inline void EVP_MD_CTX_cleanup(EVP_MD_CTX **context) {
    EVP_MD_CTX_free(*context);
}

static inline void ECDSA_SIG_cleanup(ECDSA_SIG **signature) {
    ECDSA_SIG_free(*signature);
}

/* Takes over `key`; hands it on only when it is P-256. */
static EVP_PKEY *key_checked(EVP_PKEY *key, const char *what) {
    char group[64] = "";
    size_t n = 0;
    if (key && EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_group_name(key, group, sizeof group, &n) == 1 &&
        strcmp(group, "prime256v1") == 0)
        return key;
    EVP_PKEY_free(key);
    (void)err_set(ERR_INVALID, "%s is not a P-256 key", what);
    return NULL;
}

EVP_PKEY *key_generate(void) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    if (!key)
        (void)err_set(ERR_SYSTEM, "cannot make a P-256 key");
    return key;
}

int key_private_pem(EVP_PKEY *key, struct buf *ret) {
    cleanup(BIO) BIO *bio = BIO_new(BIO_s_secmem());
    const char *data = NULL;
    if (!bio || PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1)
        return err_set(ERR_SYSTEM, "cannot write a private key as PEM");
    long n = BIO_get_mem_data(bio, &data);
    return buf_add(ret, data, (size_t)n);
}

EVP_PKEY *key_from_private_pem(const char *pem, size_t n) {
    cleanup(BIO) BIO *bio = n <= 65536 ? BIO_new_mem_buf(pem, (int)n) : NULL;
    return key_checked(bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)(uintptr_t) "") : NULL,
                       "the private key");
}

EVP_PKEY *key_from_spki(const void *der, size_t n) {
    const unsigned char *p = der;
    EVP_PKEY *key = n <= 4096 ? d2i_PUBKEY(NULL, &p, (long)n) : NULL;
    if (key && p != (const unsigned char *)der + n) {
        EVP_PKEY_free(key);
        key = NULL;
    }
    return key_checked(key, "the public key");
}

int key_spki(EVP_PKEY *key, struct buf *ret) {
    unsigned char *der = NULL;
    int n = i2d_PUBKEY(key, &der);
    if (n <= 0)
        return err_set(ERR_SYSTEM, "cannot write a public key as DER");
    int r = buf_add(ret, der, (size_t)n);
    OPENSSL_free(der);
    return r;
}

int key_fingerprint(EVP_PKEY *key, char ret[KEY_FINGERPRINT_SIZE]) {
    cleanup(buf) struct buf spki = {0};
    int r = key_spki(key, &spki);
    if (r < 0)
        return r;
    unsigned char digest[SHA256_DIGEST_LENGTH];
    (void)SHA256((const unsigned char *)spki.data, spki.len, digest);
    cleanup(free) char *text = encode_base64url(digest, sizeof digest);
    if (!text)
        return err_set(ERR_SYSTEM, "out of memory");
    memcpy(ret, text, KEY_FINGERPRINT_SIZE);
    return 0;
}

int key_sign(EVP_PKEY *key, const void *data, size_t n, unsigned char ret[KEY_SIGNATURE_SIZE]) {
    cleanup(EVP_MD_CTX) EVP_MD_CTX *context = EVP_MD_CTX_new();
    unsigned char der[80];
    size_t der_n = sizeof der;
    if (!context || EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key) != 1 ||
        EVP_DigestSign(context, der, &der_n, data, n) != 1)
        return err_set(ERR_SYSTEM, "cannot sign");
    const unsigned char *p = der;
    cleanup(ECDSA_SIG) ECDSA_SIG *signature = d2i_ECDSA_SIG(NULL, &p, (long)der_n);
    if (!signature || BN_bn2binpad(ECDSA_SIG_get0_r(signature), ret, 32) != 32 ||
        BN_bn2binpad(ECDSA_SIG_get0_s(signature), ret + 32, 32) != 32)
        return err_set(ERR_SYSTEM, "cannot encode a signature");
    return 0;
}

int key_verify(EVP_PKEY *key, const void *data, size_t n, const unsigned char signature[KEY_SIGNATURE_SIZE]) {
    cleanup(ECDSA_SIG) ECDSA_SIG *pair = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(signature, 32, NULL), *s = BN_bin2bn(signature + 32, 32, NULL);
    if (!pair || !r || !s || ECDSA_SIG_set0(pair, r, s) != 1) {
        BN_free(r);
        BN_free(s);
        return err_set(ERR_SIGNATURE, "cannot decode the signature");
    }
    unsigned char *der = NULL;
    int der_n = i2d_ECDSA_SIG(pair, &der);
    cleanup(EVP_MD_CTX) EVP_MD_CTX *context = EVP_MD_CTX_new();
    int ok = der_n > 0 && context && EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key) == 1
                 ? EVP_DigestVerify(context, der, (size_t)der_n, data, n)
                 : -1;
    OPENSSL_free(der);
    return ok == 1 ? 0 : err_set(ERR_SIGNATURE, "the signature does not verify");
}
