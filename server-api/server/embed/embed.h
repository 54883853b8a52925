/*
 * Files that are part of the program: the store's migrations and the description of the API. embed.py turns
 * them into C at build time, so that one executable is all there is to install.
 */
#ifndef SATCHEL_SERVER_EMBED_H
#define SATCHEL_SERVER_EMBED_H

#include <stddef.h>

struct embedded {
    const char *name; /* without directories */
    const char *data; /* followed by a NUL that `size` does not count */
    size_t size;
};

extern const struct embedded embedded_migrations[];
extern const size_t embedded_migrations_count;
extern const struct embedded embedded_openapi[];
extern const size_t embedded_openapi_count;

#endif
