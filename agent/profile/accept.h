/*
 * Which profile is in force: a received one is verified, checked, accepted only upwards, and stored
 * atomically as profile.json in the state directory; at a start the stored one is verified again, since a
 * disk is not trusted. Only the worker thread.
 */
#ifndef SATCHEL_PROFILE_ACCEPT_H
#define SATCHEL_PROFILE_ACCEPT_H

#include "server-api/contract/trust.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * Looks at a received profile. 0: it is to be taken, *ret_profile is its payload. 1: it is the one in force.
 * ERR_SIGNATURE, ERR_INVALID, ERR_REFUSED with the reason. *ret_version is what it calls its version, 0 where
 * that cannot be told; set on every outcome.
 */
int accept_check(const struct trust *trust, const cJSON *jws, const cJSON *in_force, cJSON **ret_profile,
                 int64_t *ret_version);

/* Makes a checked profile the stored one. */
int accept_store(int state_dir, const cJSON *jws);

/* The stored profile. 1: there is none. */
int accept_load(int state_dir, const struct trust *trust, cJSON **ret_profile);

/* The stored document as it was signed, not verified here. ERR_NOT_FOUND, ERR_INVALID. The caller's. */
int accept_load_jws(int state_dir, cJSON **ret);

int accept_remove(int state_dir);

/* Whether there is a stored profile, usable or not. */
bool accept_stored(int state_dir);

#endif
