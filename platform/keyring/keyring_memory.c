#include "platform/keyring/keyring_memory.h"
#include "platform/base/err.h"

#include <string.h>

/* The keyring is the first member. */
static struct keyring_memory *memory_of(struct keyring *k) {
    return (struct keyring_memory *)k;
}

static int memory_check(const struct keyring_memory *m) {
    if (m->missing)
        return err_set(ERR_KEYRING, "there is no keyring");
    return m->locked ? err_set(ERR_KEYRING, "the keyring is locked") : 0;
}

static struct keyring_memory_item *memory_find(struct keyring_memory *m, const char *kind) {
    for (size_t i = 0; i < m->n; i++)
        if (strcmp(m->items[i].kind, kind) == 0)
            return &m->items[i];
    return NULL;
}

static int memory_status(struct keyring *k, struct keyring_status *ret) {
    struct keyring_memory *m = memory_of(k);
    if (m->missing)
        return memory_check(m);
    *ret = (struct keyring_status){.available = true, .locked = m->locked};
    return 0;
}

static int memory_store(struct keyring *k, const char *kind, const char *label, const void *secret,
                        size_t n) {
    struct keyring_memory *m = memory_of(k);
    int r = memory_check(m);
    if (r < 0)
        return r;
    (void)label;
    struct keyring_memory_item *item = memory_find(m, kind);
    if (!item) {
        if (m->n >= KEYRING_ITEMS_MAX)
            return err_set(ERR_TOO_LARGE, "the keyring is full");
        item = &m->items[m->n++];
        *item = (struct keyring_memory_item){.secret.secret = true};
        memcpy(item->kind, kind, strlen(kind) + 1);
    }
    buf_clear(&item->secret);
    return buf_add(&item->secret, secret, n);
}

static int memory_load(struct keyring *k, const char *kind, struct buf *ret) {
    struct keyring_memory *m = memory_of(k);
    int r = memory_check(m);
    if (r < 0)
        return r;
    const struct keyring_memory_item *item = memory_find(m, kind);
    if (!item)
        return err_set(ERR_NOT_FOUND, "the keyring has no %s", kind);
    return buf_add(ret, item->secret.data, item->secret.len);
}

static int memory_remove(struct keyring *k, const char *kind) {
    struct keyring_memory *m = memory_of(k);
    int r = memory_check(m);
    if (r < 0)
        return r;
    struct keyring_memory_item *item = memory_find(m, kind);
    if (!item)
        return KEYRING_NOTHING;
    buf_finish(&item->secret);
    *item = m->items[--m->n];
    return 0;
}

static int memory_list(struct keyring *k, struct keyring_kinds *ret) {
    struct keyring_memory *m = memory_of(k);
    int r = memory_check(m);
    for (size_t i = 0; r == 0 && i < m->n; i++)
        r = keyring_kinds_add(ret, m->items[i].kind);
    return r;
}

static const struct keyring_driver keyring_memory = {
    .name = "memory",
    .status = memory_status,
    .store = memory_store,
    .load = memory_load,
    .remove = memory_remove,
    .list = memory_list,
};

void keyring_memory_init(struct keyring_memory *m) {
    *m = (struct keyring_memory){
        .keyring = {.driver = &keyring_memory, .timeout_ms = KEYRING_TIMEOUT_MS},
    };
}

void keyring_memory_finish(struct keyring_memory *m) {
    for (size_t i = 0; i < m->n; i++)
        buf_finish(&m->items[i].secret);
    m->n = 0;
}
