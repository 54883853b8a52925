#include "agent/channel/channel.h"
#include "agent/channel/deliver.h"
#include "agent/channel/listen.h"
#include "platform/base/encode.h"
#include "platform/base/err.h"

#include <sys/eventfd.h>
#include <unistd.h>

#define CHANNEL_BACKOFF_FIRST_MS 500
#define CHANNEL_BACKOFF_MOST_MS 60000

int channel_init(struct channel *c) {
    c->listen_wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    c->deliver_wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    c->deliver_retry = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    c->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (c->listen_wake < 0 || c->deliver_wake < 0 || c->deliver_retry < 0 || c->stop_fd < 0)
        return err_errno("cannot make an eventfd");
    identity_subscribe(c->identity, c->listen_wake);
    identity_subscribe(c->identity, c->deliver_wake);
    identity_subscribe(c->identity, c->deliver_retry);
    c->outbox->notify = c->deliver_wake;
    c->board->notify = c->deliver_wake;
    atomic_init(&c->stopping, false);
    return 0;
}

int channel_start(struct channel *c) {
    if (pthread_create(&c->listener, NULL, listen_run, c) != 0)
        return err_set(ERR_SYSTEM, "cannot start a thread");
    if (pthread_create(&c->deliverer, NULL, deliver_run, c) != 0)
        return err_set(ERR_SYSTEM, "cannot start a thread");
    return 0;
}

void channel_stop(struct channel *c) {
    atomic_store(&c->stopping, true);
    (void)!write(c->stop_fd, &(uint64_t){1}, sizeof(uint64_t));
    (void)!write(c->listen_wake, &(uint64_t){1}, sizeof(uint64_t));
    (void)!write(c->deliver_wake, &(uint64_t){1}, sizeof(uint64_t));
    (void)pthread_join(c->listener, NULL);
    (void)pthread_join(c->deliverer, NULL);
    (void)close(c->listen_wake);
    (void)close(c->deliver_wake);
    (void)close(c->deliver_retry);
    (void)close(c->stop_fd);
}

int64_t channel_backoff(unsigned failures) {
    int64_t most = CHANNEL_BACKOFF_FIRST_MS;
    for (unsigned i = 1; i < failures && most < CHANNEL_BACKOFF_MOST_MS; i++)
        most *= 2;
    if (most > CHANNEL_BACKOFF_MOST_MS)
        most = CHANNEL_BACKOFF_MOST_MS;
    uint32_t random;
    random_bytes(&random, sizeof random);
    return most / 2 + (int64_t)(random % (uint32_t)(most / 2 + 1));
}
