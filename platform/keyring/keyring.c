#include "platform/keyring/keyring.h"
#include "platform/base/err.h"

#include <string.h>

static int check_kind(const char *kind) {
    size_t n = strspn(kind, "abcdefghijklmnopqrstuvwxyz0123456789-");
    if (!n || kind[n] || n > KEYRING_KIND_MAX)
        return err_set(ERR_INVALID, "\"%.64s\" is not a kind of keyring item", kind);
    return 0;
}

void keyring_status(struct keyring *k, struct keyring_status *ret) {
    struct keyring_status status = {0}, none = {0};
    int r = k->driver->status(k, &status);
    *ret = r < 0 ? none : status;
}

int keyring_store(struct keyring *k, const char *kind, const char *label, const void *secret, size_t n) {
    int r = check_kind(kind);
    if (r < 0)
        return r;
    if (!n || n > KEYRING_SECRET_MAX)
        return err_set(ERR_INVALID, "a secret of %zu bytes cannot be stored", n);
    return k->driver->store(k, kind, label, secret, n);
}

int keyring_load(struct keyring *k, const char *kind, struct buf *ret) {
    int r = check_kind(kind);
    if (r < 0)
        return r;
    ret->secret = true;
    return k->driver->load(k, kind, ret);
}

int keyring_remove(struct keyring *k, const char *kind) {
    int r = check_kind(kind);
    return r < 0 ? r : k->driver->remove(k, kind);
}

int keyring_list(struct keyring *k, struct keyring_kinds *ret) {
    struct keyring_kinds kinds = {0};
    int r = k->driver->list(k, &kinds);
    if (r >= 0)
        *ret = kinds;
    return r;
}

bool keyring_kinds_has(const struct keyring_kinds *kinds, const char *kind) {
    for (size_t i = 0; i < kinds->n; i++)
        if (strcmp(kinds->kinds[i], kind) == 0)
            return true;
    return false;
}

int keyring_kinds_add(struct keyring_kinds *kinds, const char *kind) {
    if (keyring_kinds_has(kinds, kind))
        return 0;
    size_t n = strlen(kind);
    if (kinds->n >= KEYRING_ITEMS_MAX || n > KEYRING_KIND_MAX)
        return err_set(ERR_TOO_LARGE, "the keyring has too many or overlong items of Satchel");
    memcpy(kinds->kinds[kinds->n++], kind, n + 1);
    return 0;
}
