#include "server-api/server/http/limit.h"
#include "platform/base/encode.h"
#include "platform/base/err.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT_SETS 1024
#define LIMIT_WAYS 8
#define LIMIT_WINDOW_MS 60000

struct limit_slot {
    uint64_t address; /* IPv4, or the first half of an IPv6 address */
    int64_t since;    /* 0: free */
    unsigned failures;
};

struct limit {
    pthread_mutex_t lock;
    unsigned most;
    uint64_t seed; /* nobody outside can choose who shares a set */
    struct limit_slot slots[LIMIT_SETS][LIMIT_WAYS];
};

struct limit *limit_create(unsigned most) {
    struct limit *l = calloc(1, sizeof *l);
    if (!l) {
        (void)err_errno("cannot make the limit");
        return NULL;
    }
    (void)pthread_mutex_init(&l->lock, NULL);
    l->most = most;
    random_bytes(&l->seed, sizeof l->seed);
    return l;
}

void limit_destroy(struct limit *l) {
    if (l)
        (void)pthread_mutex_destroy(&l->lock);
    free(l);
}

static uint64_t limit_address(const struct sockaddr *peer) {
    uint64_t address = 1;
    if (peer->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, peer, sizeof in);
        address = in.sin_addr.s_addr;
    } else if (peer->sa_family == AF_INET6) {
        struct sockaddr_in6 in;
        memcpy(&in, peer, sizeof in);
        if (IN6_IS_ADDR_V4MAPPED(&in.sin6_addr)) {
            uint32_t v4;
            memcpy(&v4, in.sin6_addr.s6_addr + 12, sizeof v4);
            address = v4;
        } else {
            memcpy(&address, in.sin6_addr.s6_addr, sizeof address);
        }
    }
    return address;
}

static struct limit_slot *limit_set(struct limit *l, uint64_t address) {
    uint64_t h = (address ^ l->seed) * 0x9e3779b97f4a7c15U;
    h = (h ^ h >> 29) * 0xbf58476d1ce4e5b9U;
    return l->slots[(h ^ h >> 32) % LIMIT_SETS];
}

bool limit_allows(struct limit *l, const struct sockaddr *peer, int64_t now, int *ret_seconds) {
    uint64_t address = limit_address(peer);
    bool allows = true;
    (void)pthread_mutex_lock(&l->lock);
    const struct limit_slot *set = limit_set(l, address);
    for (size_t i = 0; i < LIMIT_WAYS; i++)
        if (set[i].since && set[i].address == address && now - set[i].since < LIMIT_WINDOW_MS &&
            set[i].failures >= l->most) {
            allows = false;
            *ret_seconds = (int)((LIMIT_WINDOW_MS - (now - set[i].since)) / 1000) + 1;
        }
    (void)pthread_mutex_unlock(&l->lock);
    return allows;
}

void limit_failed(struct limit *l, const struct sockaddr *peer, int64_t now) {
    uint64_t address = limit_address(peer);
    (void)pthread_mutex_lock(&l->lock);
    struct limit_slot *set = limit_set(l, address), *use = &set[0];
    for (size_t i = 0; i < LIMIT_WAYS; i++) {
        if (set[i].since && set[i].address == address) {
            use = &set[i];
            break;
        }
        if (set[i].since < use->since)
            use = &set[i];
    }
    if (use->address != address || !use->since || now - use->since >= LIMIT_WINDOW_MS)
        *use = (struct limit_slot){.address = address, .since = now};
    use->failures++;
    (void)pthread_mutex_unlock(&l->lock);
}
