/*
 * A keyring in memory, for tests: it forgets everything at the end of the process, so no program uses it. The
 * fields may be changed between calls to play a keyring that is missing, locked or silent.
 */
#ifndef SATCHEL_KEYRING_MEMORY_H
#define SATCHEL_KEYRING_MEMORY_H

#include "platform/keyring/keyring.h"

struct keyring_memory_item {
    char kind[KEYRING_KIND_MAX + 1];
    struct buf secret; /* owned */
};

struct keyring_memory {
    struct keyring keyring;
    bool missing, locked;
    struct keyring_memory_item items[KEYRING_ITEMS_MAX];
    size_t n;
};

void keyring_memory_init(struct keyring_memory *m);
void keyring_memory_finish(struct keyring_memory *m);
#define keyring_memory_cleanup keyring_memory_finish

#endif
