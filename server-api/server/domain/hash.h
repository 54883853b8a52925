/*
 * Secrets that come back to us (codes, tokens) are kept as their SHA-256: they have so many random bits that
 * nothing slower is needed.
 */
#ifndef SATCHEL_SERVER_DOMAIN_HASH_H
#define SATCHEL_SERVER_DOMAIN_HASH_H

#include "server-api/server/store/store_code.h"

/* Lower-case hexadecimal SHA-256 of the text. */
void hash_text(const char *text, char ret[STORE_HASH_SIZE]);

#endif
