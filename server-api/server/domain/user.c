#include "server-api/server/domain/user.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/base/json.h"
#include "server-api/server/domain/audit.h"
#include "server-api/server/domain/csv.h"
#include "server-api/server/domain/text.h"

#include <stdio.h>
#include <string.h>

int user_make(const char *login, const char *address, const char *name, struct store_user *ret) {
    int r = text_check("login", login, USER_LOGIN_MAX);
    if (r == 0)
        r = text_check("address", address, USER_ADDRESS_MAX);
    if (r == 0)
        r = text_check("name", name, USER_NAME_MAX);
    if (r < 0)
        return r;
    if (login[strspn(login, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-@+")])
        return err_set(ERR_INVALID, "login: only letters without accents, digits and . _ - @ + are allowed");
    const char *at = strchr(address, '@');
    if (!at || at == address || !at[1] || strchr(at + 1, '@') || strpbrk(address, " ,;<>\""))
        return err_set(ERR_INVALID, "address: must be one mail address like name@company.example");
    struct store_user user = {.created_at = clock_real_ms()};
    (void)snprintf(user.login, sizeof user.login, "%s", login);
    (void)snprintf(user.address, sizeof user.address, "%s", address);
    (void)snprintf(user.name, sizeof user.name, "%s", name);
    *ret = user;
    return 0;
}

struct user_adding {
    const char *actor;
    const struct store_user *users;
    size_t n;
    size_t taken; /* index of the user whose login is taken */
};

/* STORE_EXISTS is no error for store_user_add(), but here all or none are added. */
static int user_add_body(struct store_tx *tx, void *arg) {
    struct user_adding *a = arg;
    for (size_t i = 0; i < a->n; i++) {
        int r = store_user_add(tx, &a->users[i]);
        if (r == STORE_EXISTS) {
            a->taken = i;
            return err_set(ERR_WRONG_STATE, "there is a user %s already", a->users[i].login);
        }
        if (r == 0)
            r = audit_add(tx, a->actor, "user.added", a->users[i].login,
                          audit_detail("address", a->users[i].address));
        if (r < 0)
            return r;
    }
    return 0;
}

int user_add(struct store *s, const char *actor, const struct store_user *user) {
    struct user_adding adding = {.actor = actor, .users = user, .n = 1};
    int r = store_write(s, user_add_body, &adding);
    return r == ERR_WRONG_STATE ? STORE_EXISTS : r;
}

static void user_problem(struct user_import *import, size_t line, const char *text) {
    if (import->n_problems == USER_PROBLEMS_MAX)
        return;
    struct user_problem *p = &import->problems[import->n_problems++];
    p->line = line;
    (void)snprintf(p->text, sizeof p->text, "%s", text);
}

struct user_list {
    struct store_user *users; /* owned */
    size_t *lines;            /* owned */
    size_t n, cap;
};

static void user_list_cleanup(struct user_list *list) {
    free(list->users);
    free(list->lines);
}

static int user_list_add(struct user_list *list, const struct store_user *user, size_t line) {
    if (list->n == list->cap) {
        size_t cap = list->cap ? list->cap * 2 : 64;
        struct store_user *users = reallocarray(list->users, cap, sizeof *users);
        if (users)
            list->users = users;
        size_t *lines = reallocarray(list->lines, cap, sizeof *lines);
        if (lines)
            list->lines = lines;
        if (!users || !lines)
            return err_errno("cannot hold the users");
        list->cap = cap;
    }
    list->users[list->n] = *user;
    list->lines[list->n++] = line;
    return 0;
}

static int user_import_read(const char *csv, size_t n, struct user_list *list, struct user_import *import) {
    cleanup(csv) struct csv c;
    csv_init(&c, csv, n);
    int r = csv_next(&c);
    if (r <= 0 || c.n != 3 || strcmp(c.fields[0], "login") != 0 || strcmp(c.fields[1], "address") != 0 ||
        strcmp(c.fields[2], "name") != 0) {
        user_problem(import, 1, "the first line must be: login,address,name");
        return 0;
    }
    while ((r = csv_next(&c)) != 0) {
        struct store_user user;
        if (r == 1 && c.n != 3)
            r = err_set(ERR_INVALID, "must have 3 fields, has %zu", c.n);
        if (r == 1)
            r = user_make(c.fields[0], c.fields[1], c.fields[2], &user);
        if (r == 0)
            r = user_list_add(list, &user, c.line);
        if (r == ERR_INVALID || r == ERR_TOO_LARGE)
            user_problem(import, c.line, err_text());
        else if (r < 0)
            return r;
    }
    if (list->n == 0 && import->n_problems == 0)
        user_problem(import, 1, "there is no user in it");
    return 0;
}

int user_import(struct store *s, const char *actor, const char *csv, size_t n, struct user_import *ret) {
    cleanup(user_list) struct user_list list = {0};
    struct user_import import = {0};
    int r = user_import_read(csv, n, &list, &import);
    if (r < 0)
        return r;
    if (import.n_problems == 0) {
        struct user_adding adding = {.actor = actor, .users = list.users, .n = list.n};
        r = store_write(s, user_add_body, &adding);
        if (r == ERR_WRONG_STATE && list.lines)
            user_problem(&import, list.lines[adding.taken], err_text());
        else if (r < 0)
            return r;
        else
            import.added = list.n;
    }
    *ret = import;
    return import.n_problems == 0
               ? 0
               : err_set(ERR_REFUSED, "nothing was imported: %zu lines are wrong", import.n_problems);
}
