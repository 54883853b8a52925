#include "server-api/server/http/workers.h"
#include "platform/base/err.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

struct workers {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct workers_task *first, **last;
    bool stop;
    size_t n;
    pthread_t threads[];
};

static void *workers_main(void *arg) {
    struct workers *w = arg;
    for (;;) {
        (void)pthread_mutex_lock(&w->lock);
        while (!w->first && !w->stop)
            (void)pthread_cond_wait(&w->wake, &w->lock);
        struct workers_task *task = w->first;
        if (task) {
            w->first = task->next;
            if (!w->first)
                w->last = &w->first;
        }
        (void)pthread_mutex_unlock(&w->lock);
        if (!task)
            return NULL;
        task->run(task);
    }
}

struct workers *workers_create(size_t threads) {
    struct workers *w = calloc(1, sizeof *w + threads * sizeof(pthread_t));
    if (!w) {
        (void)err_errno("cannot start the workers");
        return NULL;
    }
    (void)pthread_mutex_init(&w->lock, NULL);
    (void)pthread_cond_init(&w->wake, NULL);
    w->last = &w->first;
    for (; w->n < threads; w->n++)
        if (pthread_create(&w->threads[w->n], NULL, workers_main, w) != 0) {
            workers_destroy(w);
            (void)err_set(ERR_SYSTEM, "cannot start the workers");
            return NULL;
        }
    return w;
}

void workers_submit(struct workers *w, struct workers_task *task) {
    task->next = NULL;
    (void)pthread_mutex_lock(&w->lock);
    *w->last = task;
    w->last = &task->next;
    (void)pthread_cond_signal(&w->wake);
    (void)pthread_mutex_unlock(&w->lock);
}

void workers_destroy(struct workers *w) {
    if (!w)
        return;
    (void)pthread_mutex_lock(&w->lock);
    w->stop = true;
    (void)pthread_cond_broadcast(&w->wake);
    (void)pthread_mutex_unlock(&w->lock);
    for (size_t i = 0; i < w->n; i++)
        (void)pthread_join(w->threads[i], NULL);
    (void)pthread_cond_destroy(&w->wake);
    (void)pthread_mutex_destroy(&w->lock);
    free(w);
}
