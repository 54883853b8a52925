/*
 * Which route a request means. Pure: a method and a path in, a row of the table out.
 */
#ifndef SATCHEL_SERVER_HTTP_ROUTER_H
#define SATCHEL_SERVER_HTTP_ROUTER_H

#include <stddef.h>

#define ROUTER_PARAMS_MAX 2
#define ROUTER_PARAM_SIZE 65
#define ROUTER_ALLOW_SIZE 64

/* Begins every row of a table of routes. */
struct route_key {
    const char *method; /* "GET" */
    const char *path;   /* "/v1/admin/devices/{id}": {} stands for one segment of 1 to 64 bytes */
};

struct route_match {
    size_t index;                                      /* of the row */
    char params[ROUTER_PARAMS_MAX][ROUTER_PARAM_SIZE]; /* what stood for each {}, in order; "" without */
    char allow[ROUTER_ALLOW_SIZE];                     /* for ROUTER_METHOD: the methods there are */
};

enum router_outcome { ROUTER_FOUND, ROUTER_UNKNOWN, ROUTER_METHOD };

/* `rows`: `n` rows of `size` bytes that each begin with a route_key. */
enum router_outcome router_match(const void *rows, size_t size, size_t n, const char *method,
                                 const char *path, struct route_match *ret);

#endif
