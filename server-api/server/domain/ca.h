/*
 * The organization's certificate authority: makes the root, the server's and the devices' certificates. Pure:
 * keys in, certificates out. What a certificate says is decided here alone; nothing of a request but its
 * public key is taken over.
 */
#ifndef SATCHEL_SERVER_DOMAIN_CA_H
#define SATCHEL_SERVER_DOMAIN_CA_H

#include "server-api/contract/cert.h"

/* The self-signed root: CA, 20 years. NULL with err_text(). */
X509 *ca_root(EVP_PKEY *key, const char *organization);

/* A TLS server certificate for `host` (name or address) and loopback, 2 years. NULL with err_text(). */
X509 *ca_server(X509 *root, EVP_PKEY *root_key, EVP_PKEY *key, const char *host);

/* A TLS client certificate for the device `id`, valid for `seconds`. NULL with err_text(). */
X509 *ca_device(X509 *root, EVP_PKEY *root_key, EVP_PKEY *key, const char *organization, const char *id,
                int64_t seconds);

#endif
