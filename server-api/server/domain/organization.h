/*
 * The organization: the directory that `satchel-server init` makes, with its keys, its root certificate, the
 * trust document and the settings.
 *
 *   DIR (0700)  ca.pem  trust.json  server.json  satchel.db  tls.pem (leaf + root)
 *   DIR/keys (0700, files 0600)  root.pem  signing.pem  tls.pem  admin.pem
 *
 * Loaded once by main, then read-only and shared by all threads, except for the keys: those sign and verify
 * under `lock`. server.json is written last by init and read first by serve: a directory without it was never
 * finished.
 */
#ifndef SATCHEL_SERVER_DOMAIN_ORGANIZATION_H
#define SATCHEL_SERVER_DOMAIN_ORGANIZATION_H

#include "server-api/contract/cert.h"
#include "server-api/contract/key.h"

#include <cjson/cJSON.h>
#include <pthread.h>
#include <stdint.h>

#define ORGANIZATION_NAME_MAX 128
#define ORGANIZATION_LISTEN_MAX 128
#define ORGANIZATION_CERTIFICATE_DAYS_MAX 3650

struct organization_settings {
    const char *name, *domain, *public_url;
    const char *listen;       /* NULL: every address, port of the public URL */
    const char *admin_listen; /* NULL: 127.0.0.1:8444 */
    int64_t certificate_days; /* of a device's certificate; 0: a year */
};

struct organization {
    char name[ORGANIZATION_NAME_MAX + 1];
    char domain[256];
    char public_url[300];
    char listen[ORGANIZATION_LISTEN_MAX], admin_listen[ORGANIZATION_LISTEN_MAX];
    char *store_url;
    int64_t device_certificate_seconds;
    char fingerprint[KEY_FINGERPRINT_SIZE]; /* of the root key: what links pin */
    X509 *root;
    char *root_pem;
    char *trust; /* the JWS as text */
    int64_t trust_version;
    char *tls_key_pem, *tls_chain_pem; /* for the listeners */
    pthread_mutex_t lock;
    EVP_PKEY *root_key, *signing_key, *admin_key; /* used under `lock`, as the next two */
    char *stamp;                                  /* the last one that was made */
    int64_t stamp_until;                          /* clock_boot_ms() up to which it is good enough */
    int dir;                                      /* holds the lock on DIR */
};

/* Makes DIR. ERR_REFUSED when it is there and not empty, ERR_USAGE for settings that make no sense. What was
 * written is removed again when it fails. */
int organization_init(const char *dir, const struct organization_settings *settings);

/*
 * Loads DIR, renews the TLS certificate when less than half of its life is left, and keeps DIR locked until
 * organization_close(): ERR_WRONG_STATE when another server has it.
 */
int organization_open(const char *dir, struct organization **ret);
void organization_close(struct organization *o);

static inline void organization_cleanup(struct organization **o) {
    organization_close(*o);
}

/* A device's certificate as PEM appended to `ret_pem`, and its row's values. */
int organization_issue(struct organization *o, EVP_PKEY *key, const char *device, struct buf *ret_pem,
                       char ret_digest[65], int64_t *ret_expires_at);

/* Signs a profile or an order: the JWS as text, the caller's; NULL with err_text(). */
char *organization_sign(struct organization *o, const cJSON *payload, const char *type);

/* The time now, signed (contract/stamp.h), at most a second old. The caller's; NULL with err_text(). */
char *organization_stamp(struct organization *o);

/* Verifies a token that was signed with DIR/keys/admin.pem. ERR_SIGNATURE, ERR_INVALID. */
int organization_verify_admin(struct organization *o, const cJSON *jws, cJSON **ret_payload);

#endif
