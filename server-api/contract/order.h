/*
 * An order: one thing that one device shall do, once. Payload of a JWS of type JWS_TYPE_ORDER, signed by keys
 * that the trust document lists for orders.
 *
 * {"type":"order","id":"...","device":"...","sequence":3,"kind":"wipe","reason":"laptop
 * lost","ordered_at":"2026-11-25T10:00:00.000Z"}
 */
#ifndef SATCHEL_CONTRACT_ORDER_H
#define SATCHEL_CONTRACT_ORDER_H

#include <cjson/cJSON.h>
#include <stdint.h>

#define ORDER_ID_MAX 64
#define ORDER_REASON_MAX 500
#define ORDERS_PENDING_MAX 16 /* of one device: more are refused when ordered */

enum order_kind { ORDER_WIPE, ORDER_LOCK, ORDER_UNLOCK, ORDER_KINDS };

struct order {
    char id[ORDER_ID_MAX + 1];
    char device[ORDER_ID_MAX + 1];
    enum order_kind kind;
    int64_t sequence; /* of this device, from 1 upwards */
    char reason[ORDER_REASON_MAX + 1];
    int64_t ordered_at; /* ms since 1970, by the server's clock */
};

const char *order_kind_name(enum order_kind kind);

/* What it means for the employee: a sentence. */
const char *order_kind_words(enum order_kind kind);

/* ERR_REFUSED for a kind that this version does not know. */
int order_kind_of(const char *name, enum order_kind *ret);

/* The payload. The caller's; NULL without memory. */
cJSON *order_make(const struct order *o);

/* Reads a payload whose signatures were verified. ERR_INVALID; ERR_REFUSED for a kind that this version does
 * not know. */
int order_read(const cJSON *payload, struct order *ret);

#endif
