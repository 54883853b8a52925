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
    struct state_message row;
    size_t n;
    char text[];
};

struct writer {
    const struct maildir *maildir; /* borrowed */
    bool in_place;
    enum maildir_place unread;
    bool threaded;
    pthread_t thread;

    pthread_mutex_t lock;
    pthread_cond_t more; /* something was put, or it is the end */
    pthread_cond_t less; /* half of what waited is made, or what is waited for, or a file failed */
    struct job *first, **last;
    size_t waiting; /* bytes of text */
    uint64_t put, made, awaited;
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

/* The next job, NULL at the end. With the lock. */
static struct job *take(struct writer *w) {
    while (!w->first && !w->stop)
        (void)pthread_cond_wait(&w->more, &w->lock);
    struct job *job = w->stop ? NULL : w->first;
    if (job) {
        w->first = job->next;
        w->last = w->first ? w->last : &w->first;
    }
    return job;
}

/* With the lock. */
static void job_done(struct writer *w, size_t n, int r) {
    bool was_full = w->waiting >= WAITING_MAX / 2;
    w->made++;
    w->waiting -= n;
    if (r < 0) {
        w->failed = r;
        (void)snprintf(w->trouble, sizeof w->trouble, "%s", err_text());
    }
    if (r < 0 || w->made == w->awaited || (was_full && w->waiting < WAITING_MAX / 2))
        (void)pthread_cond_broadcast(&w->less);
}

static void *writer_main(void *ctx) {
    struct writer *w = ctx;
    (void)pthread_mutex_lock(&w->lock);
    for (struct job *job; !w->failed && (job = take(w));) {
        (void)pthread_mutex_unlock(&w->lock);
        int r = make(w, &job->row, job->text, job->n);
        size_t n = job->n;
        free(job);
        (void)pthread_mutex_lock(&w->lock);
        job_done(w, n, r);
    }
    (void)pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* -- what others call ----------------------------------------------------------------------------------- */

int writer_start(const struct maildir *m, bool in_place, enum maildir_place unread, bool thread,
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
    w->threaded = thread && pthread_create(&w->thread, NULL, writer_main, w) == 0;
    *ret = w;
    return 0;
}

int writer_put(struct writer *w, const struct state_message *row, const char *text, size_t n) {
    if (!w->threaded)
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
        *w->last = steal(job);
        w->last = &(*w->last)->next;
        w->waiting += n;
        w->put++;
        (void)pthread_cond_signal(&w->more);
    }
    (void)pthread_mutex_unlock(&w->lock);
    free(job);
    return r;
}

int writer_wait(struct writer *w) {
    (void)pthread_mutex_lock(&w->lock);
    uint64_t put = w->awaited = w->put;
    while (w->made < put && !w->failed)
        (void)pthread_cond_wait(&w->less, &w->lock);
    int r = w->failed ? err_set(w->failed, "%s", w->trouble) : 0;
    (void)pthread_mutex_unlock(&w->lock);
    return r;
}

void writer_stop(struct writer *w) {
    if (!w)
        return;
    if (w->threaded) {
        (void)pthread_mutex_lock(&w->lock);
        w->stop = true;
        (void)pthread_cond_signal(&w->more);
        (void)pthread_mutex_unlock(&w->lock);
        (void)pthread_join(w->thread, NULL);
    }
    for (struct job *job; (job = w->first);) {
        w->first = job->next;
        free(job);
    }
    (void)pthread_cond_destroy(&w->more);
    (void)pthread_cond_destroy(&w->less);
    (void)pthread_mutex_destroy(&w->lock);
    free(w);
}
