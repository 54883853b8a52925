/*
 * Evidence: a receipt with the certificate of the key that signed it, so that nothing but the organization's
 * root certificate is needed to check it: root -> certificate -> signature -> what the device says. Pure: no
 * I/O, no clock; a receipt is as good in ten years as today.
 *
 * {"receipt": JWS, "certificate": "PEM", "order": ID or null, "device": ID}; an order as the admin API shows
 * it
 * ({"id", "device", "receipt_jws", "certificate", ...}) is evidence too.
 */
#ifndef SATCHEL_CONTRACT_EVIDENCE_H
#define SATCHEL_CONTRACT_EVIDENCE_H

#include "server-api/contract/cert.h"
#include "server-api/contract/receipt.h"

#define EVIDENCE_MAX ((size_t)512 << 10) /* bytes of JSON */

struct evidence {
    enum receipt_result result;
    cJSON *payload; /* owned: what the device signed */
    char device[65];
    char organization[129];          /* as the certificate has it */
    char root[KEY_FINGERPRINT_SIZE]; /* of the root's key: what enrollment links pin */
    int64_t not_before, not_after;   /* of the certificate, ms since 1970 */
};

void evidence_finish(struct evidence *e);
#define evidence_cleanup evidence_finish

/* The document. The caller's; NULL without memory. `order` may be NULL. */
cJSON *evidence_make(const cJSON *receipt_jws, const char *certificate, const char *order,
                     const char *device);

/*
 * ERR_REFUSED with a sentence that says what does not hold: it is no evidence, the certificate is not of this
 * root, the signature is not by its key, the receipt speaks of another device or order, or says "done" and
 * contradicts itself. *ret is finished by evidence_finish().
 */
int evidence_open(const cJSON *document, X509 *root, struct evidence *ret);

#endif
