#include "agent/state/identity.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"

#include <stdio.h>
#include <sys/mman.h>

void identity_init(struct identity *i) {
    *i = (struct identity){.lock = PTHREAD_MUTEX_INITIALIZER};
    i->key_pem.secret = true;
}

void identity_subscribe(struct identity *i, int eventfd) {
    i->subscribers[i->n_subscribers++] = eventfd;
}

static void identity_tell(struct identity *i) {
    for (int s = 0; s < i->n_subscribers; s++)
        (void)!write(i->subscribers[s], &(uint64_t){1}, sizeof(uint64_t));
}

static void identity_forget(struct identity *i) {
    if (i->key_pem.data)
        (void)munlock(i->key_pem.data, i->key_pem.cap);
    buf_finish(&i->key_pem);
    buf_finish(&i->cert_pem);
    buf_finish(&i->root_pem);
    i->generation = 0;
}

int identity_set(struct identity *i, const struct device *d, const struct buf *cert_pem,
                 const struct buf *key_pem) {
    (void)pthread_mutex_lock(&i->lock);
    identity_forget(i);
    int r = buf_add(&i->key_pem, key_pem->data, key_pem->len);
    if (r == 0)
        r = buf_add(&i->cert_pem, cert_pem->data, cert_pem->len);
    if (r == 0)
        r = buf_add_str(&i->root_pem, d->root_pem);
    if (r == 0) {
        (void)mlock(i->key_pem.data, i->key_pem.cap); /* an unprivileged limit may forbid it, ignoring */
        (void)snprintf(i->server, sizeof i->server, "%s", d->server);
        (void)snprintf(i->device, sizeof i->device, "%s", d->id);
        i->generation = ++i->last;
    } else {
        identity_forget(i);
    }
    (void)pthread_mutex_unlock(&i->lock);
    identity_tell(i);
    return r;
}

int identity_set_certificate(struct identity *i, const char *cert_pem) {
    cleanup(buf) struct buf pem = {0};
    int r = buf_add_str(&pem, cert_pem);
    (void)pthread_mutex_lock(&i->lock);
    if (r == 0 && !i->generation)
        r = err_set(ERR_WRONG_STATE, "there is no identity");
    if (r == 0) {
        buf_finish(&i->cert_pem);
        i->cert_pem = pem;
        pem = (struct buf){0};
        i->generation = ++i->last;
    }
    (void)pthread_mutex_unlock(&i->lock);
    identity_tell(i);
    return r;
}

void identity_clear(struct identity *i) {
    (void)pthread_mutex_lock(&i->lock);
    identity_forget(i);
    (void)pthread_mutex_unlock(&i->lock);
    identity_tell(i);
}

uint64_t identity_generation(struct identity *i) {
    (void)pthread_mutex_lock(&i->lock);
    uint64_t generation = i->generation;
    (void)pthread_mutex_unlock(&i->lock);
    return generation;
}

int identity_client(struct identity *i, struct https **ret, uint64_t *ret_generation) {
    struct https *h = NULL;
    (void)pthread_mutex_lock(&i->lock);
    uint64_t generation = i->generation;
    int r = generation ? https_new(&(struct https_settings){.base = i->server,
                                                            .root_pem = i->root_pem.data,
                                                            .cert_pem = i->cert_pem.data,
                                                            .key_pem = &i->key_pem},
                                   &h)
                       : 1;
    (void)pthread_mutex_unlock(&i->lock);
    if (r == 0) {
        *ret = h;
        *ret_generation = generation;
    }
    return r;
}

EVP_PKEY *identity_key(struct identity *i) {
    (void)pthread_mutex_lock(&i->lock);
    EVP_PKEY *key = i->generation ? key_from_private_pem(i->key_pem.data, i->key_pem.len) : NULL;
    if (!i->generation)
        (void)err_set(ERR_KEYRING, "the device key is not available");
    (void)pthread_mutex_unlock(&i->lock);
    return key;
}
