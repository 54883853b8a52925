/*
 * The mail profile (design: "Contracts"): what an account on every device shall look like. One table says
 * what a profile may hold; the server applies it strictly when a profile is published, the agent leniently
 * (unknown keys are ignored unless "critical" names them) when it is received. Pure: no I/O.
 */
#ifndef SATCHEL_CONTRACT_PROFILE_H
#define SATCHEL_CONTRACT_PROFILE_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROFILE_MAX ((size_t)256 << 10) /* bytes of JSON */
#define PROFILE_PROBLEMS_MAX 16

struct profile_problem {
    char pointer[160]; /* JSON pointer (RFC 6901) */
    char text[200];    /* a sentence for a person */
};

struct profile_problems {
    size_t n;
    struct profile_problem items[PROFILE_PROBLEMS_MAX];
};

enum profile_check_mode {
    PROFILE_PUBLISHED, /* unknown keys are problems */
    PROFILE_RECEIVED,  /* unknown keys are ignored unless critical */
};

/* Lists what is wrong with `profile` into *ret. Returns 0 when nothing is, else ERR_REFUSED with the first
 * problem. */
int profile_check(const cJSON *profile, enum profile_check_mode mode, struct profile_problems *ret);

/* For callers with a rule of their own (the version must be higher): adds one problem, up to the cap. */
void profile_problem_add(struct profile_problems *problems, const char *pointer, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

struct profile_user {
    const char *login, *address, *name;
};

/* The text with {user.login}, {user.address} and {user.name} filled in. The caller's; NULL without memory. */
char *profile_expand(const char *text, const struct profile_user *user);

/* A copy of the profile with every placeholder below "account" filled in. The caller's; NULL without memory.
 */
cJSON *profile_for_user(const cJSON *profile, const struct profile_user *user);

/* Look-ups in a profile that passed the check. */
int64_t profile_version(const cJSON *profile);
const char *profile_id(const cJSON *profile);
const cJSON *profile_incoming(const cJSON *profile);
int64_t profile_check_in_seconds(const cJSON *profile);  /* default 900 */
int64_t profile_keep_days(const cJSON *profile);         /* default 0 */
int64_t profile_offline_lock_days(const cJSON *profile); /* default 0: never */
int64_t profile_offline_wipe_days(const cJSON *profile); /* default 0: never */
#endif
