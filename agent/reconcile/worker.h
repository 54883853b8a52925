/*
 * The worker: the one thread that changes the device's state. Others hand it jobs; it takes them one after
 * the other, a wipe before everything else, and between jobs it reconciles: facts, plan, apply, and again
 * after a while where a step failed.
 */
#ifndef SATCHEL_RECONCILE_WORKER_H
#define SATCHEL_RECONCILE_WORKER_H

#include "agent/reconcile/agent.h"

#include <cjson/cJSON.h>
#include <pthread.h>
#include <stdbool.h>

struct worker_job;

struct worker {
    struct agent *agent; /* borrowed; the worker thread's own from worker_start() on */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct worker_job *first, **last;
    bool stopping, kicked;
    pthread_t thread;
};

int worker_init(struct worker *w, struct agent *agent);
int worker_start(struct worker *w);

/* Ends the thread after the job under way; whatever waits for the network is canceled. The vault stays open:
 * a new satcheld takes it over. */
void worker_stop(struct worker *w);

/* Jobs. These wait for the outcome; any thread but the worker's. */

/* Enrolls with a link; "" goes on with an enrollment that lacks its mail password. Errors as enroll_run(),
 * ERR_WRONG_STATE where the device is enrolled already, ERR_KEYRING, ERR_SYSTEM where no vault is possible.
 */
int worker_enroll(struct worker *w, const char *link);

/* Tries the mail password and keeps it in the keyring when it is right. ERR_AUTH, ERR_UNREACHABLE, ERR_TLS,
 * ERR_WRONG_STATE, ERR_KEYRING. */
int worker_credential(struct worker *w, const char *password);

/* The employee's own wipe. Returns when it is done; ERR_SYSTEM where something is left (it goes on trying).
 */
int worker_leave(struct worker *w);

/* Puts fresh facts about keyring and vault on the board. Waits at most a few seconds. */
void worker_look(struct worker *w);

/* These do not wait. */
void worker_state(struct worker *w, cJSON *document); /* takes over the server's state document */
void worker_acknowledged(struct worker *w, const char *order, bool last);
void worker_certificate(struct worker *w, const char *pem); /* NULL: the server gives none now */
void worker_kick(struct worker *w);                         /* look again at what is to be done */

#endif
