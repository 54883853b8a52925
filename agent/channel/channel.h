/*
 * The channel: the connection to the management server. Two threads, each with its own connection made from
 * the identity: one waits in a long poll for what the server has to say and hands it to the worker; the other
 * delivers reports, word of orders and the receipt. Both reconnect with jittered backoff, for ever; no answer
 * of the server but a verified, signed order erases anything, and that is the worker's to verify.
 */
#ifndef SATCHEL_CHANNEL_CHANNEL_H
#define SATCHEL_CHANNEL_CHANNEL_H

#include "agent/state/board.h"
#include "agent/state/identity.h"
#include "agent/state/outbox.h"

#include <pthread.h>
#include <stdatomic.h>

/* The member of a state document in which its stamp (server-api/contract/stamp.h) is handed on; where nothing
 * changed the document has nothing else. */
#define CHANNEL_STAMP "stamp"

struct channel {
    struct board *board; /* borrowed, as the next three */
    struct identity *identity;
    struct outbox *outbox;
    void (*state)(void *userdata,
                  cJSON *document); /* takes over the server's state document; must not block */
    void (*acknowledged)(void *userdata, const char *order,
                         bool last); /* the server has the receipt; `order` "": of none; `last`: it ends the
                                        enrollment */
    void (*certificate)(void *userdata, const char *pem); /* a further one; NULL: the server gives none now */
    void *userdata;
    int listen_wake, deliver_wake; /* eventfds: something is to be looked at */
    int deliver_retry;             /* eventfd: trying again makes sense now */
    int stop_fd;                   /* eventfd, readable once it is time to end */
    pthread_t listener, deliverer;
    atomic_bool stopping;
};

int channel_init(struct channel *c);
int channel_start(struct channel *c);

/* Ends both threads, also from the middle of a request. */
void channel_stop(struct channel *c);

/* Milliseconds to wait before try number `failures` (1, 2, ...): doubling from half a second to a minute,
 * each between half and whole. */
int64_t channel_backoff(unsigned failures);

#endif
