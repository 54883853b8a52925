/*
 * Users: what a login, an address and a name may be, and adding one or a whole CSV file.
 */
#ifndef SATCHEL_SERVER_DOMAIN_USER_H
#define SATCHEL_SERVER_DOMAIN_USER_H

#include "server-api/server/store/store_user.h"

#define USER_IMPORT_MAX ((size_t)8 << 20) /* bytes of CSV */
#define USER_PROBLEMS_MAX 100

/* Fills in *ret. ERR_INVALID with a sentence. Login: a-z A-Z 0-9 . _ - @ +; address: one @ with something on
 * both sides; nothing with control characters; all UTF-8. */
int user_make(const char *login, const char *address, const char *name, struct store_user *ret);

/* Adds one user. STORE_EXISTS when the login is taken. */
int user_add(struct store *s, const char *actor, const struct store_user *user);

struct user_problem {
    size_t line; /* from 1 */
    char text[200];
};

struct user_import {
    size_t added;
    size_t n_problems;
    struct user_problem problems[USER_PROBLEMS_MAX];
};

/*
 * Adds every user of a CSV file (RFC 4180, UTF-8; first line: login,address,name) or none: 0, or ERR_REFUSED
 * with what is wrong in which line.
 */
int user_import(struct store *s, const char *actor, const char *csv, size_t n, struct user_import *ret);

#endif
