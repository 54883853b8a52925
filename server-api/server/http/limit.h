/*
 * How often a peer address failed in the present minute. The address is the connection's own; no header has a
 * say. IPv6 counts by /64. A fixed table: under an attack from very many addresses old counts are forgotten.
 */
#ifndef SATCHEL_SERVER_HTTP_LIMIT_H
#define SATCHEL_SERVER_HTTP_LIMIT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct limit;

/* At most `most` failures a minute. NULL with err_text(). */
struct limit *limit_create(unsigned most);
void limit_destroy(struct limit *l);

/* Whether the address may try; *ret_seconds: when it may again. `now`: clock_boot_ms(). */
bool limit_allows(struct limit *l, const struct sockaddr *peer, int64_t now, int *ret_seconds);
void limit_failed(struct limit *l, const struct sockaddr *peer, int64_t now);

#endif
