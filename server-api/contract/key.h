/*
 * P-256 keys and ES256 signatures (RFC 7518 section 3.4): the one algorithm of Satchel. `struct key` owns an
 * OpenSSL key, private or public; use from one thread at a time. Private keys leave only as PEM in a secret
 * buffer.
 */
#ifndef SATCHEL_CONTRACT_KEY_H
#define SATCHEL_CONTRACT_KEY_H

#include "platform/base/buf.h"

#include <openssl/evp.h>

#define KEY_SIGNATURE_SIZE 64   /* r || s */
#define KEY_FINGERPRINT_SIZE 44 /* base64url of SHA-256, with the NUL */

/* A new key pair. NULL with err_text(). The caller frees with EVP_PKEY_free (cleanup(EVP_PKEY)). */
EVP_PKEY *key_generate(void);

/* PKCS#8 PEM of a private key, appended to `ret`, which should be a secret buffer. */
int key_private_pem(EVP_PKEY *key, struct buf *ret);

/* A private key from PEM; NULL with err_text() when it is not a P-256 key. */
EVP_PKEY *key_from_private_pem(const char *pem, size_t n);

/* A public key from DER SubjectPublicKeyInfo; NULL with err_text() when it is not a P-256 key. */
EVP_PKEY *key_from_spki(const void *der, size_t n);

/* DER SubjectPublicKeyInfo, appended to `ret`. */
int key_spki(EVP_PKEY *key, struct buf *ret);

/* base64url(SHA-256(SubjectPublicKeyInfo)): the `kid` of a signature, the fingerprint of an enrollment link.
 */
int key_fingerprint(EVP_PKEY *key, char ret[KEY_FINGERPRINT_SIZE]);

int key_sign(EVP_PKEY *key, const void *data, size_t n, unsigned char ret[KEY_SIGNATURE_SIZE]);

/* 0, or ERR_SIGNATURE; every other outcome of OpenSSL counts as ERR_SIGNATURE too. */
int key_verify(EVP_PKEY *key, const void *data, size_t n, const unsigned char signature[KEY_SIGNATURE_SIZE]);

static inline void EVP_PKEY_cleanup(EVP_PKEY **key) {
    EVP_PKEY_free(*key);
}

#endif
