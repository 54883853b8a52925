/*
 * A receipt: what became of an order (or of the employee's own leave), signed by the device key after the
 * device looked again. Payload of a JWS of type JWS_TYPE_RECEIPT.
 *
 * {"type":"receipt","id":"...","order":"ID"|null,"cause":"order"|"leave"|"offline","kind":"wipe|lock|unlock","device":"...",
 *  "result":"done|failed|refused","reason":"...",
 *  "steps":[{"name","outcome","started_at","duration_ms","detail"}],"vault":{"driver"},"removed":{"files","bytes"},
 *  "checked":[{"what","found":0}],"unreadable_at":"...","started_at":"...","finished_at":"...","agent_version":"..."}
 */
#ifndef SATCHEL_CONTRACT_RECEIPT_H
#define SATCHEL_CONTRACT_RECEIPT_H

#include "server-api/contract/key.h"

#include <cjson/cJSON.h>
#include <stddef.h>

#define RECEIPT_MAX ((size_t)64 << 10)

enum receipt_result { RECEIPT_DONE, RECEIPT_FAILED, RECEIPT_REFUSED };

const char *receipt_result_name(enum receipt_result result);

/* What a device looks for after a wipe or lock ("checked"), in words. */
struct receipt_check {
    const char *name, *words;
};

extern const struct receipt_check receipt_checks[];
extern const size_t receipt_checks_count;

/* The words, or the name itself where this version does not know it. */
const char *receipt_check_words(const char *name);

struct receipt_about {
    const char *id;
    const char *order; /* NULL: of none */
    const char *cause, *kind, *device;
};

/* The signed receipt. `outcome` is what the wipe or lock tells (result, steps, ...); its members are copied.
 * The caller's; NULL with err_text(). */
cJSON *receipt_make(const cJSON *outcome, const struct receipt_about *about, EVP_PKEY *device_key);

/*
 * Verifies a receipt against the device's public key and checks that it speaks of `device`. "done" stands
 * only where every step's outcome and every look afterwards agree: any "failed" step without a later success
 * or any finding makes the receipt ERR_INVALID. *ret_payload is the caller's.
 */
int receipt_open(const cJSON *jws, EVP_PKEY *device_key, const char *device, enum receipt_result *ret_result,
                 cJSON **ret_payload);

#endif
