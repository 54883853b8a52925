/*
 * A pool of threads for the requests that block: on the store's writer, or on arithmetic. Their connections
 * are suspended meanwhile, so that the loops go on. The queue needs no cap of its own: there is at most one
 * task a connection, and connections are capped.
 */
#ifndef SATCHEL_SERVER_HTTP_WORKERS_H
#define SATCHEL_SERVER_HTTP_WORKERS_H

#include <stddef.h>

struct workers;

struct workers_task {
    void (*run)(struct workers_task *task); /* on a worker; the task is not touched afterwards */
    struct workers_task *next;
};

/* NULL with err_text(). */
struct workers *workers_create(size_t threads);

void workers_submit(struct workers *w, struct workers_task *task);

/* Runs what was submitted, then ends the threads. */
void workers_destroy(struct workers *w);

#endif
