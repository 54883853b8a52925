/*
 * X.509 as both sides need it: the certificate request of a device, the fingerprints, the verification of a
 * chain. (Issuing certificates is the server's: server-api/server/domain/ca.h.)
 */
#ifndef SATCHEL_CONTRACT_CERT_H
#define SATCHEL_CONTRACT_CERT_H

#include "platform/base/buf.h"
#include "server-api/contract/key.h"

#include <openssl/x509.h>
#include <stdint.h>

#define CERT_PEM_MAX ((size_t)64 << 10)

static inline void X509_cleanup(X509 **cert) {
    X509_free(*cert);
}

/* A PKCS#10 request (RFC 2986) for `key`, as PEM appended to `ret`. The subject is a constant: the server
 * alone decides what a certificate says. */
int cert_request(EVP_PKEY *key, struct buf *ret);

/* The public key of a PEM request whose own signature verifies; NULL with err_text(). */
EVP_PKEY *cert_request_key(const char *pem, size_t n);

/* The first certificate in PEM; NULL with err_text(). */
X509 *cert_from_pem(const char *pem, size_t n);

int cert_pem(X509 *cert, struct buf *ret);

/* Lower-case hexadecimal SHA-256 of the DER: how a device's certificate is looked up. Owned by the caller;
 * NULL with err_text(). */
char *cert_digest(X509 *cert);

/* Fingerprint of the certificate's public key, see key_fingerprint(). */
int cert_key_fingerprint(X509 *cert, char ret[KEY_FINGERPRINT_SIZE]);

/*
 * Whether `cert` was issued by `root` (a self-signed CA; nothing else is trusted) for TLS clients and is
 * valid at `real_ms`. With real_ms 0 its dates are not looked at. 0, or ERR_SIGNATURE with the reason.
 */
int cert_verify_client(X509 *cert, X509 *root, int64_t real_ms);

/* A certificate is valid from so many seconds before it was issued: a device's clock may be behind. */
#define CERT_SKEW_S 300

/* When a device's certificate is to be renewed: at two thirds of its life. Milliseconds since 1970; negative
 * on a damaged certificate. */
int64_t cert_renew_at(X509 *cert);

/* The end of validity, milliseconds since 1970; negative on a damaged certificate. */
int64_t cert_not_after(X509 *cert);
int64_t cert_not_before(X509 *cert);

#endif
