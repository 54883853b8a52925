/* "METHOD PATH" against a table like the server's. */
#include "platform/base/cleanup.h"
#include "server-api/server/http/router.h"
#include "tests/fuzz/server/fuzz.h"

#include <stdlib.h>
#include <string.h>

static const struct route_key routes[] = {{"GET", "/v1/admin/devices"},
                                          {"GET", "/v1/admin/devices/{id}"},
                                          {"POST", "/v1/admin/devices/{id}/orders"},
                                          {"DELETE", "/v1/admin/tokens/{id}"},
                                          {"GET", "/enroll/{code}"},
                                          {"POST", "/a/{b}/c/{d}"}};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    cleanup(free) char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    char *path = strchr(text, ' ');
    if (!path)
        return 0;
    *path++ = '\0';
    struct route_match m;
    enum router_outcome found =
        router_match(routes, sizeof *routes, sizeof routes / sizeof *routes, text, path, &m);
    if (found == ROUTER_FOUND &&
        (m.index >= sizeof routes / sizeof *routes || strcmp(routes[m.index].method, text) != 0))
        abort();
    for (size_t i = 0; i < ROUTER_PARAMS_MAX; i++)
        if (strlen(m.params[i]) >= ROUTER_PARAM_SIZE || strchr(m.params[i], '/'))
            abort();
    if (found == ROUTER_METHOD && !m.allow[0])
        abort();
    return 0;
}
