/*
 * The control socket: how `satchel` speaks to `satcheld`. Newline-delimited JSON-RPC 2.0 over a local stream
 * socket that only this user reaches. One thread accepts, one thread a connection serves it; long calls send
 * "progress" notifications and end when the caller hangs up.
 *
 * Methods: status, enroll {link}, credential {password}, sync {wait, confirm_deletions}, activity {most},
 * leave. An error has {"code": enum err_code, "message": sentence, "data": {"name": err_name(), "exit": exit
 * status}}.
 */
#ifndef SATCHEL_CONTROL_CONTROL_H
#define SATCHEL_CONTROL_CONTROL_H

#include "agent/reconcile/child.h"
#include "agent/reconcile/worker.h"
#include "agent/state/board.h"

#include <pthread.h>
#include <semaphore.h>

#define CONTROL_CONNECTIONS_MAX 32 /* more wait in the backlog */

struct control {
    struct board *board; /* borrowed, as the next two */
    struct worker *worker;
    struct child *child;
    int state_dir;
    int listener; /* owned */
    int stop;     /* owned eventfd */
    pthread_t thread;
    sem_t room; /* connections that may still be served */
};

/* Listens at `path`; the caller holds the lock of the state directory. */
int control_start(struct control *c, const char *path);
void control_stop(struct control *c, const char *path);

#endif
