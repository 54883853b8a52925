#include "agent/mail/sync/writer.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAITING_MAX ((size_t)1 << 20) /* bytes of text: what comes in while the disk is busy for a moment */

struct job {
    struct job *next;
    uint64_t number;
    struct state_message row;
    size_t n;
    char text[];
};

struct writer {
    const struct maildir *maildir; /* borrowed */
    bool in_place;
    enum maildir_place unread;
    unsigned n_threads;
    pthread_t threads[WRITER_THREADS_MAX];

    pthread_mutex_t lock;
    pthread_cond_t more; /* something was put, or it is the end */
    pthread_cond_t less; /* half of what waited is made, or what is waited for, or a file failed */
    struct job *first, **last;
    size_t waiting;               /* bytes of text, also of what is being made */
    uint64_t put, taken, awaited; /* numbers of jobs; they begin with 1 */
    uint64_t making[WRITER_THREADS_MAX];
    bool stop;
    int failed; /* what came of a file: nothing follows it */
    char trouble[160];
};

/* -- one file ------------------------------------------------------------------------------------------- */

static int make_in_tmp(const struct writer *w, const struct state_message *row, const char *text, size_t n) {
    struct maildir_part part = {.fd = -1};
    int64_t have = 0;
    int r = maildir_part_open(w->maildir, row->uid, 0, &have, &part);
    if (r == 0)
        r = maildir_part_write(&part, text, n);
    if (r == 0)
        r = maildir_part_place(w->maildir, &part, row->uid, row->seconds, row->flags, w->unread);
    maildir_part_close(&part);
    return r;
}

static int make(const struct writer *w, const struct state_message *row, const char *text, size_t n) {
    return w->in_place ? maildir_create(w->maildir, row->uid, row->seconds, row->flags, w->unread, text, n)
                       : make_in_tmp(w, row, text, n);
}

/* -- the thread ----------------------------------------------------------------------------------------- */

/* All with the lock. */

/* The next job, NULL at the end. */
static struct job *take(struct writer *w, uint64_t **ret_making) {
    while (!w->first && !w->stop && !w->failed)
        (void)pthread_cond_wait(&w->more, &w->lock);
    struct job *job = w->stop || w->failed ? NULL : w->first;
    if (!job)
        return NULL;
    w->first = job->next;
    w->last = w->first ? w->last : &w->first;
    w->taken = job->number;
    uint64_t *making = w->making;
    while (*making)
        making++;
    *making = job->number;
    *ret_making = making;
    return job;
}

/* Whether every job up to a number is done. */
static bool is_made(const struct writer *w, uint64_t number) {
    for (unsigned i = 0; i < w->n_threads; i++)
        if (w->making[i] && w->making[i] <= number)
            return false;
    return w->taken >= number;
}

static void job_done(struct writer *w, uint64_t *making, size_t n, int r) {
    bool was_full = w->waiting >= WAITING_MAX / 2, was_awaited = *making <= w->awaited;
    *making = 0;
    w->waiting -= n;
    if (r < 0 && !w->failed) {
        w->failed = r;
        (void)snprintf(w->trouble, sizeof w->trouble, "%s", err_text());
        (void)pthread_cond_broadcast(&w->more);
    }
    if (w->failed || (was_awaited && is_made(w, w->awaited)) || (was_full && w->waiting < WAITING_MAX / 2))
        (void)pthread_cond_broadcast(&w->less);
}

static void *writer_main(void *ctx) {
    struct writer *w = ctx;
    uint64_t *making = NULL;
    (void)pthread_mutex_lock(&w->lock);
    for (struct job *job; (job = take(w, &making));) {
        (void)pthread_mutex_unlock(&w->lock);
        int r = make(w, &job->row, job->text, job->n);
        size_t n = job->n;
        free(job);
        (void)pthread_mutex_lock(&w->lock);
        job_done(w, making, n, r);
    }
    (void)pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* -- what others call ----------------------------------------------------------------------------------- */

int writer_start(const struct maildir *m, bool in_place, enum maildir_place unread, unsigned threads,
                 struct writer **ret) {
    struct writer *w = calloc(1, sizeof *w);
    if (!w)
        return err_set(ERR_SYSTEM, "out of memory");
    *w = (struct writer){.maildir = m,
                         .in_place = in_place,
                         .unread = unread,
                         .lock = PTHREAD_MUTEX_INITIALIZER,
                         .more = PTHREAD_COND_INITIALIZER,
                         .less = PTHREAD_COND_INITIALIZER};
    w->last = &w->first;
    (void)pthread_mutex_lock(&w->lock);
    for (; w->n_threads < threads && w->n_threads < WRITER_THREADS_MAX; w->n_threads++)
        if (pthread_create(&w->threads[w->n_threads], NULL, writer_main, w) != 0)
            break; /* fewer, or none, do as well */
    (void)pthread_mutex_unlock(&w->lock);
    *ret = w;
    return 0;
}

int writer_put(struct writer *w, const struct state_message *row, const char *text, size_t n) {
    if (w->n_threads == 0)
        return make(w, row, text, n);
    struct job *job = malloc(sizeof *job + n);
    if (!job)
        return err_set(ERR_SYSTEM, "out of memory");
    *job = (struct job){.row = *row, .n = n};
    memcpy(job->text, text, n);
    (void)pthread_mutex_lock(&w->lock);
    if (w->waiting >= WAITING_MAX)
        while (w->waiting >= WAITING_MAX / 2 && !w->failed)
            (void)pthread_cond_wait(&w->less, &w->lock);
    int r = w->failed ? err_set(w->failed, "%s", w->trouble) : 0;
    if (r == 0) {
        job->number = ++w->put;
        *w->last = steal(job);
        w->last = &(*w->last)->next;
        w->waiting += n;
        (void)pthread_cond_signal(&w->more);
    }
    (void)pthread_mutex_unlock(&w->lock);
    free(job);
    return r;
}

int writer_wait(struct writer *w) {
    (void)pthread_mutex_lock(&w->lock);
    uint64_t put = w->awaited = w->put;
    while (!is_made(w, put) && !w->failed)
        (void)pthread_cond_wait(&w->less, &w->lock);
    int r = w->failed ? err_set(w->failed, "%s", w->trouble) : 0;
    (void)pthread_mutex_unlock(&w->lock);
    return r;
}

void writer_stop(struct writer *w) {
    if (!w)
        return;
    (void)pthread_mutex_lock(&w->lock);
    w->stop = true;
    (void)pthread_cond_broadcast(&w->more);
    (void)pthread_mutex_unlock(&w->lock);
    for (unsigned i = 0; i < w->n_threads; i++)
        (void)pthread_join(w->threads[i], NULL);
    for (struct job *job; (job = w->first);) {
        w->first = job->next;
        free(job);
    }
    (void)pthread_cond_destroy(&w->more);
    (void)pthread_cond_destroy(&w->less);
    (void)pthread_mutex_destroy(&w->lock);
    free(w);
}
