/*
 * Publishing a profile: checked strictly, its version higher than any before, signed, kept. The newest
 * version is the one in force.
 */
#ifndef SATCHEL_SERVER_DOMAIN_PUBLICATION_H
#define SATCHEL_SERVER_DOMAIN_PUBLICATION_H

#include "server-api/contract/profile.h"
#include "server-api/server/domain/organization.h"
#include "server-api/server/store/store_profile.h"

/* ERR_REFUSED with what is wrong in *ret_problems. Durable when it returns 0. */
int publication_publish(struct store *s, struct organization *o, const char *actor, const cJSON *profile,
                        struct profile_problems *ret_problems);

/* The payload of a stored profile or order; the signature was ours. The caller's; NULL with err_text(). */
cJSON *publication_payload(const char *jws);

#endif
