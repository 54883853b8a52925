#include "server-api/server/domain/seen.h"
#include "platform/base/err.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEEN_BUCKETS 8192
#define SEEN_MAX 1000000 /* devices between two flushes; more are not noted */

struct seen_entry {
    char device[STORE_ID_SIZE];
    int64_t at;
    struct seen_entry *next;
};

struct seen {
    pthread_mutex_t lock;
    size_t n;
    struct seen_entry *buckets[SEEN_BUCKETS];
};

static size_t seen_bucket(const char *device) {
    size_t h = 5381;
    for (const char *p = device; *p; p++)
        h = h * 33 + (unsigned char)*p;
    return h % SEEN_BUCKETS;
}

struct seen *seen_create(void) {
    struct seen *s = calloc(1, sizeof *s);
    if (!s)
        (void)err_errno("cannot note devices");
    else
        (void)pthread_mutex_init(&s->lock, NULL);
    return s;
}

static void seen_free(struct seen_entry *e) {
    while (e) {
        struct seen_entry *next = e->next;
        free(e);
        e = next;
    }
}

void seen_destroy(struct seen *s) {
    if (!s)
        return;
    for (size_t i = 0; i < SEEN_BUCKETS; i++)
        seen_free(s->buckets[i]);
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
}

static struct seen_entry *seen_find(struct seen *s, size_t bucket, const char *device) {
    struct seen_entry *e = s->buckets[bucket];
    while (e && strcmp(e->device, device) != 0)
        e = e->next;
    return e;
}

void seen_note(struct seen *s, const char *device, int64_t now) {
    size_t bucket = seen_bucket(device);
    (void)pthread_mutex_lock(&s->lock);
    struct seen_entry *e = seen_find(s, bucket, device);
    if (!e && s->n < SEEN_MAX && (e = calloc(1, sizeof *e))) {
        (void)snprintf(e->device, sizeof e->device, "%s", device);
        e->next = s->buckets[bucket];
        s->buckets[bucket] = e;
        s->n++;
    }
    if (e && e->at < now)
        e->at = now;
    (void)pthread_mutex_unlock(&s->lock);
}

int64_t seen_get(struct seen *s, const char *device) {
    (void)pthread_mutex_lock(&s->lock);
    const struct seen_entry *e = seen_find(s, seen_bucket(device), device);
    int64_t at = e ? e->at : 0;
    (void)pthread_mutex_unlock(&s->lock);
    return at;
}

static int seen_body(struct store_tx *tx, void *arg) {
    for (const struct seen_entry *e = arg; e; e = e->next) {
        int r = store_device_set_seen(tx, e->device, e->at);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Takes everything out, in one chain. */
static struct seen_entry *seen_take(struct seen *s) {
    struct seen_entry *all = NULL;
    (void)pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < SEEN_BUCKETS; i++)
        while (s->buckets[i]) {
            struct seen_entry *e = s->buckets[i];
            s->buckets[i] = e->next;
            e->next = all;
            all = e;
        }
    s->n = 0;
    (void)pthread_mutex_unlock(&s->lock);
    return all;
}

int seen_flush(struct seen *s, struct store *store) {
    struct seen_entry *all = seen_take(s);
    int r = all ? store_write(store, seen_body, all) : 0;
    seen_free(all);
    return r;
}
