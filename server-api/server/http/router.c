#include "server-api/server/http/router.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static bool router_path(const char *pattern, const char *path, struct route_match *ret) {
    size_t params = 0;
    memset(ret->params, 0, sizeof ret->params);
    while (*pattern) {
        if (*pattern != '{') {
            if (*pattern++ != *path++)
                return false;
            continue;
        }
        size_t n = strcspn(path, "/");
        if (n == 0 || n >= ROUTER_PARAM_SIZE || params == ROUTER_PARAMS_MAX)
            return false;
        memcpy(ret->params[params++], path, n);
        path += n;
        pattern += strcspn(pattern, "}") + 1;
    }
    return !*path;
}

enum router_outcome router_match(const void *rows, size_t size, size_t n, const char *method,
                                 const char *path, struct route_match *ret) {
    struct route_match match = {0};
    size_t allow = 0;
    for (size_t i = 0; i < n; i++) {
        const struct route_key *key = (const struct route_key *)((const char *)rows + i * size);
        if (!router_path(key->path, path, &match))
            continue;
        if (strcmp(key->method, method) == 0) {
            match.index = i;
            *ret = match;
            return ROUTER_FOUND;
        }
        if (allow < sizeof match.allow)
            allow += (size_t)snprintf(match.allow + allow, sizeof match.allow - allow, "%s%s",
                                      allow ? ", " : "", key->method);
    }
    memset(match.params, 0, sizeof match.params);
    *ret = match;
    return allow ? ROUTER_METHOD : ROUTER_UNKNOWN;
}
