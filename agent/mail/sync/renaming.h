/*
 * The order in which things are renamed, so that each finds its new name free: chains from their end, circles
 * by way of a name aside. Pure; any thread.
 */
#ifndef SATCHEL_AGENT_MAIL_SYNC_RENAMING_H
#define SATCHEL_AGENT_MAIL_SYNC_RENAMING_H

#include <stdbool.h>
#include <stddef.h>

/* One name. `wanted` is `now` (or equal to it) where it is to stay. Both are the caller's. */
struct renaming {
    const char *now, *wanted;
};

enum renaming_what {
    RENAMING_NONE,  /* everything has its name, or what is left waits for a name that something else keeps */
    RENAMING_FINAL, /* gets the name that it wants */
    RENAMING_ASIDE, /* makes room: gets a name that nothing has */
};

/*
 * What comes next, and of which item. The caller carries it out, changes `now` (with a `delimiter` also of
 * everything below, which moves along) and asks again. An item that cannot be renamed gets its `now` as
 * `wanted`. What holds others comes before them.
 */
enum renaming_what renaming_next(const struct renaming *items, size_t n, char delimiter, size_t *ret_item);

/* What is left of `name` where it is below `parent`, with the delimiter; NULL: it is not. */
const char *renaming_below(const char *name, const char *parent, char delimiter);

#endif
