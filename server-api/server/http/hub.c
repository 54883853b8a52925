#include "server-api/server/http/hub.h"
#include "platform/base/err.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define HUB_SHARDS 64
#define HUB_BUCKETS 512

struct hub_shard {
    pthread_mutex_t lock;
    uint64_t changes; /* the ticket */
    bool closed;
    size_t n;
    int64_t earliest; /* no deadline is before it */
    struct hub_entry *buckets[HUB_BUCKETS];
};

struct hub {
    struct hub_shard shards[HUB_SHARDS];
};

static uint64_t hub_hash(const char *key) {
    uint64_t h = 14695981039346656037U; /* FNV-1a: keys are random identifiers of our own making */
    for (; *key; key++)
        h = (h ^ (unsigned char)*key) * 1099511628211U;
    return h;
}

static struct hub_shard *hub_shard(struct hub *h, const char *key) {
    return &h->shards[hub_hash(key) % HUB_SHARDS];
}

static struct hub_entry **hub_bucket(struct hub_shard *shard, const char *key) {
    return &shard->buckets[hub_hash(key) / HUB_SHARDS % HUB_BUCKETS];
}

struct hub *hub_create(void) {
    struct hub *h = calloc(1, sizeof *h);
    if (!h) {
        (void)err_errno("cannot make the hub");
        return NULL;
    }
    for (size_t i = 0; i < HUB_SHARDS; i++) {
        (void)pthread_mutex_init(&h->shards[i].lock, NULL);
        h->shards[i].earliest = INT64_MAX;
    }
    return h;
}

void hub_destroy(struct hub *h) {
    for (size_t i = 0; h && i < HUB_SHARDS; i++)
        (void)pthread_mutex_destroy(&h->shards[i].lock);
    free(h);
}

static void hub_unlink(struct hub_shard *shard, struct hub_entry *e) {
    *e->link = e->next;
    if (e->next)
        e->next->link = e->link;
    e->next = NULL;
    e->link = NULL;
    shard->n--;
}

uint64_t hub_ticket(struct hub *h, const char *key) {
    struct hub_shard *shard = hub_shard(h, key);
    (void)pthread_mutex_lock(&shard->lock);
    uint64_t changes = shard->changes;
    (void)pthread_mutex_unlock(&shard->lock);
    return changes;
}

bool hub_park(struct hub *h, struct hub_entry *e, uint64_t ticket) {
    struct hub_shard *shard = hub_shard(h, e->key);
    (void)pthread_mutex_lock(&shard->lock);
    bool fresh = shard->changes == ticket;
    if (shard->closed) {
        fresh = true;
        e->wake(e);
    } else if (fresh) {
        struct hub_entry **bucket = hub_bucket(shard, e->key);
        e->next = *bucket;
        e->link = bucket;
        if (e->next)
            e->next->link = &e->next;
        *bucket = e;
        shard->n++;
        if (e->deadline < shard->earliest)
            shard->earliest = e->deadline;
    }
    (void)pthread_mutex_unlock(&shard->lock);
    return fresh;
}

void hub_wake(struct hub *h, const char *key) {
    struct hub_shard *shard = hub_shard(h, key);
    (void)pthread_mutex_lock(&shard->lock);
    shard->changes++;
    for (struct hub_entry *e = *hub_bucket(shard, key), *next; e; e = next) {
        next = e->next;
        if (strcmp(e->key, key) != 0)
            continue;
        hub_unlink(shard, e);
        e->wake(e);
    }
    (void)pthread_mutex_unlock(&shard->lock);
}

/* Wakes everything in the shard with a deadline up to `now`. */
static void hub_sweep(struct hub_shard *shard, int64_t now) {
    shard->earliest = INT64_MAX;
    for (size_t i = 0; i < HUB_BUCKETS; i++)
        for (struct hub_entry *e = shard->buckets[i], *next; e; e = next) {
            next = e->next;
            if (e->deadline > now) {
                shard->earliest = e->deadline < shard->earliest ? e->deadline : shard->earliest;
                continue;
            }
            hub_unlink(shard, e);
            e->wake(e);
        }
}

void hub_wake_all(struct hub *h) {
    for (size_t i = 0; i < HUB_SHARDS; i++) {
        (void)pthread_mutex_lock(&h->shards[i].lock);
        h->shards[i].changes++;
        hub_sweep(&h->shards[i], INT64_MAX);
        (void)pthread_mutex_unlock(&h->shards[i].lock);
    }
}

void hub_expire(struct hub *h, int64_t now) {
    for (size_t i = 0; i < HUB_SHARDS; i++) {
        (void)pthread_mutex_lock(&h->shards[i].lock);
        if (h->shards[i].earliest <= now)
            hub_sweep(&h->shards[i], now);
        (void)pthread_mutex_unlock(&h->shards[i].lock);
    }
}

void hub_close(struct hub *h) {
    for (size_t i = 0; i < HUB_SHARDS; i++) {
        (void)pthread_mutex_lock(&h->shards[i].lock);
        h->shards[i].closed = true;
        hub_sweep(&h->shards[i], INT64_MAX);
        (void)pthread_mutex_unlock(&h->shards[i].lock);
    }
}

size_t hub_parked(struct hub *h) {
    size_t n = 0;
    for (size_t i = 0; i < HUB_SHARDS; i++) {
        (void)pthread_mutex_lock(&h->shards[i].lock);
        n += h->shards[i].n;
        (void)pthread_mutex_unlock(&h->shards[i].lock);
    }
    return n;
}
