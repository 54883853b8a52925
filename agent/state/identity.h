/*
 * The identity: with which key and certificate this device speaks to which server. The worker sets and clears
 * it; the channel's threads make their connections from it. The private key is held here, in locked memory
 * where the kernel allows, and cleared with the identity.
 */
#ifndef SATCHEL_STATE_IDENTITY_H
#define SATCHEL_STATE_IDENTITY_H

#include "agent/state/device.h"
#include "platform/base/buf.h"
#include "platform/https/https.h"
#include "server-api/contract/key.h"

#include <pthread.h>

#define IDENTITY_SUBSCRIBERS 3

struct identity {
    pthread_mutex_t lock;
    uint64_t generation; /* 0: there is none */
    uint64_t last;
    char server[300], device[65];
    struct buf root_pem, cert_pem, key_pem; /* owned */
    int subscribers[IDENTITY_SUBSCRIBERS];  /* eventfds, borrowed */
    int n_subscribers;
};

void identity_init(struct identity *i);

/* Before threads start: `eventfd` is written at each change. */
void identity_subscribe(struct identity *i, int eventfd);

int identity_set(struct identity *i, const struct device *d, const struct buf *cert_pem,
                 const struct buf *key_pem);
void identity_clear(struct identity *i);

/* The same key and device with another certificate. ERR_WRONG_STATE without an identity. */
int identity_set_certificate(struct identity *i, const char *cert_pem);

/* The present generation, 0 where there is no identity. */
uint64_t identity_generation(struct identity *i);

/* A client for the present identity and its generation. 1: there is none. */
int identity_client(struct identity *i, struct https **ret, uint64_t *ret_generation);

/* The device key, for signing a receipt; NULL with err_text(). */
EVP_PKEY *identity_key(struct identity *i);

#endif
