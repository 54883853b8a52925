/*
 * A vault in a directory of its own, under each driver, and programs that hold it. One test at a time.
 */
#ifndef SATCHEL_TEST_VAULT_ROOM_H
#define SATCHEL_TEST_VAULT_ROOM_H

#include "agent/vault/vault.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/encode.h"
#include "platform/base/err.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#define CANARY "the quick brown canary"

extern const struct vault_driver *driver;
extern char base[PATH_MAX / 2];
extern struct vault v;
extern struct buf key;

/* A path below `base`; valid until the next call but seven. */
char *at(const char *name);

void put(const char *path, const char *text);
bool has(const char *path, const char *text);
bool exists(const char *path);
unsigned mode_of(const char *path);
bool is_open(void);
size_t servers(void);

int setup(void **state);
int setup_open(void **state);
int teardown(void **state);

/* A process that holds the vault in every way, with a child that holds nothing; waits to be killed. */
struct holder_pids {
    pid_t parent, child;
};
struct holder_pids start_holder(void);
void check_gone(struct holder_pids pids);

/* A child that runs `hold(arg)` and waits to be killed; back once that has returned 0. */
pid_t start_child(int (*hold)(const char *arg), const char *arg);

#define CLOSED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define OPEN(test) cmocka_unit_test_setup_teardown(test, setup_open, teardown)

/* What is so with one driver alone. */
extern const struct CMUnitTest gocryptfs_tests[], fscrypt_tests[], no_fuse_tests[];
extern const size_t gocryptfs_tests_n, fscrypt_tests_n, no_fuse_tests_n;

#endif
