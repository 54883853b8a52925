/*
 * The engine: one thread that keeps the Maildir and the server equal. It connects, makes passes over all
 * folders, downloads in steps between which everybody else has a turn, waits by NOTIFY or IDLE for the server
 * and by inotify for readers, and after a failure waits longer and longer. The functions here may be called
 * by any thread; they leave an order and return at once.
 */
#ifndef SATCHEL_AGENT_MAIL_SYNC_ENGINE_H
#define SATCHEL_AGENT_MAIL_SYNC_ENGINE_H

#include "agent/mail/sync/account.h"
#include "agent/mail/sync/report.h"

struct engine;

struct engine_config {
    struct account *account; /* owned */
    char *vault;             /* owned: absolute path */
    uint64_t device;         /* st_dev of the vault while it is open */
    int keep_days;
};

/* NULL is allowed. */
void engine_config_destroy(struct engine_config *c);

/* Starts the thread; it idles until it is configured. `report` is borrowed and must outlive the engine. */
int engine_start(struct report *report, struct engine **ret);

/* Takes over `config` and starts anew with it. */
void engine_configure(struct engine *e, struct engine_config *config);

/* Asks for a full pass now, which report_synced() answers with `id` when everything is up and down.
 * `confirm`: it carries out mass deletions that wait for a confirmation. */
void engine_sync(struct engine *e, int64_t id, bool confirm);

/* Ends the session with LOGOUT and the thread with it. ERR_TIMEOUT when it does not end by `deadline`: the
 * process must then be left by _exit(2). On 0 the engine is destroyed. */
int engine_stop(struct engine *e, int64_t deadline);

#endif
