#include "agent/mail/sync/renaming.h"

#include <string.h>

const char *renaming_below(const char *name, const char *parent, char delimiter) {
    size_t n = strlen(parent);
    return delimiter && strncmp(name, parent, n) == 0 && name[n] == delimiter ? name + n : NULL;
}

static bool is_moving(const struct renaming *item) {
    return strcmp(item->now, item->wanted) != 0;
}

/* Who has the name that an item wants; `n`: nobody. */
static size_t owner_of(const struct renaming *items, size_t n, size_t item) {
    for (size_t i = 0; i < n; i++)
        if (i != item && strcmp(items[i].now, items[item].wanted) == 0)
            return i;
    return n;
}

/* Whether the item waits for itself, by way of others, or wants to be below itself. */
static bool is_in_circle(const struct renaming *items, size_t n, char delimiter, size_t item) {
    size_t at = item;
    if (renaming_below(items[item].wanted, items[item].now, delimiter))
        return true;
    for (size_t steps = 0; steps <= n; steps++) {
        at = owner_of(items, n, at);
        if (at == item)
            return true;
        if (at == n || !is_moving(&items[at]))
            return false;
    }
    return false; /* leads to a circle of others */
}

enum renaming_what renaming_next(const struct renaming *items, size_t n, char delimiter, size_t *ret_item) {
    size_t best = n;
    for (size_t i = 0; i < n; i++) {
        if (!is_moving(&items[i]) || owner_of(items, n, i) != n ||
            renaming_below(items[i].wanted, items[i].now, delimiter))
            continue;
        if (best == n || strlen(items[i].now) < strlen(items[best].now))
            best = i;
    }
    if (best < n) {
        *ret_item = best;
        return RENAMING_FINAL;
    }
    for (size_t i = 0; i < n; i++)
        if (is_moving(&items[i]) && is_in_circle(items, n, delimiter, i)) {
            *ret_item = i;
            return RENAMING_ASIDE;
        }
    return RENAMING_NONE;
}
