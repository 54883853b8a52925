/*
 * The enrollment link: https://HOST:PORT/enroll/CODE#FINGERPRINT. The code is used once and expires; the
 * fingerprint, which no browser sends anywhere, is the SHA-256 of the organization's root public key
 * (key_fingerprint()).
 */
#ifndef SATCHEL_CONTRACT_LINK_H
#define SATCHEL_CONTRACT_LINK_H

#include "server-api/contract/key.h"

#include <stddef.h>

#define LINK_CODE_SIZE 33 /* 32 characters base64url: 192 random bits */
#define LINK_MAX 512

struct link {
    char base[300]; /* https://HOST:PORT, no slash behind it */
    char code[LINK_CODE_SIZE];
    char fingerprint[KEY_FINGERPRINT_SIZE];
};

/* Parses a link. ERR_REFUSED with a sentence that says which part is malformed. */
int link_parse(const char *text, struct link *ret);

/* Whether `base` is https://HOST[:PORT] and nothing more: what a link may start with. */
int link_check_base(const char *base);

#endif
