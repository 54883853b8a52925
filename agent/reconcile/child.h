/*
 * The mail child, seen from the supervisor: a process of its own (`satcheld --role=mail`) that is fed over a
 * socketpair and reports back over it. Started, stopped and killed by the worker thread alone; a reader
 * thread puts what the child tells on the board. The child gets its account and credential in one message,
 * never by argument, environment or disk, and the supervisor keeps no copy.
 */
#ifndef SATCHEL_RECONCILE_CHILD_H
#define SATCHEL_RECONCILE_CHILD_H

#include "agent/state/board.h"
#include "platform/linux/process.h"

#include <pthread.h>

struct child {
    struct board *board;
    void (*attention)(void *userdata); /* called by the reader thread when the child is gone, or finds its
                                          vault closed; must not block */
    void *userdata;
    pthread_mutex_t lock; /* guards fd against senders of other threads */
    int fd;               /* our end, -1 without a child */
    struct process process;
    int reader_pidfd; /* owned by the reader thread: the end of the stream comes before the end of the process
                       */
    pthread_t reader;
    bool has_reader;
    int64_t next_sync;
};

void child_init(struct child *c, struct board *board, void (*attention)(void *), void *userdata);

/* Starts a child and sends it the "configure" message; an earlier one is killed first. */
int child_start(struct child *c, const cJSON *configure);

/* Asks the child to end (it takes leave of the server), then kills what is left of it. */
void child_stop(struct child *c);

/* SIGKILL, and waits until the process is gone. 0 also where there is none; ERR_TIMEOUT. */
int child_kill(struct child *c);

/* Whether a child runs. One that ended by itself is buried here. */
bool child_running(struct child *c);

/* Asks for a full pass; the board tells when `*ret_id` is through. ERR_WRONG_STATE without a child. Any
 * thread. With `confirm_deletions` it also carries out the mass deletions that were held back. */
int child_sync(struct child *c, bool confirm_deletions, int64_t *ret_id);

/* Tries to log in, in a child of its own that ends afterwards. 0, ERR_AUTH, ERR_UNREACHABLE, ERR_TLS,
 * ERR_PROTOCOL, ERR_TIMEOUT, ERR_CANCELED, with a sentence for a person. */
int child_try(const cJSON *account, int cancel);

#endif
