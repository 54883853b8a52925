/* A certificate request from a device, a certificate from a file. What is accepted has a P-256 key. */
#include "platform/base/cleanup.h"
#include "server-api/contract/cert.h"
#include "tests/fuzz/server/fuzz.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char fingerprint[KEY_FINGERPRINT_SIZE];
    cleanup(EVP_PKEY) EVP_PKEY *key = cert_request_key((const char *)data, size);
    if (key && (key_fingerprint(key, fingerprint) < 0 || EVP_PKEY_get_bits(key) != 256))
        abort();
    cleanup(X509) X509 *cert = cert_from_pem((const char *)data, size);
    if (cert) {
        cleanup(free) char *digest = cert_digest(cert);
        if (digest && strlen(digest) != 64)
            abort();
        (void)cert_key_fingerprint(cert, fingerprint);
        (void)cert_not_after(cert);
        (void)cert_verify_client(cert, cert, 0);
    }
    return 0;
}
