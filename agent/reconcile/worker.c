#include "agent/reconcile/worker.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/base/json.h"
#include "platform/base/log.h"
#include "platform/base/wait.h"

#include <stdlib.h>
#include <string.h>

#define WORKER_LOOK_MS 3000

enum worker_kind {
    WORKER_ENROLL,
    WORKER_CREDENTIAL,
    WORKER_LEAVE,
    WORKER_STATE,
    WORKER_ACKNOWLEDGED,
    WORKER_CERTIFICATE
};

struct worker_job {
    enum worker_kind kind;
    const char *text; /* borrowed from the waiting caller */
    cJSON *document;  /* owned */
    bool waited, done;
    int result;
    char error[1024];
    struct worker_job *next;
};

int worker_init(struct worker *w, struct agent *agent) {
    *w = (struct worker){.agent = agent};
    w->last = &w->first;
    return wait_init(&w->lock, &w->changed);
}

static void worker_push(struct worker *w, struct worker_job *job, bool urgent) {
    if (urgent) {
        job->next = w->first;
        w->first = job;
        if (!job->next)
            w->last = &job->next;
        (void)!write(w->agent->cancel, &(uint64_t){1}, sizeof(uint64_t));
    } else {
        *w->last = job;
        w->last = &job->next;
    }
    (void)pthread_cond_broadcast(&w->changed);
}

static int worker_call(struct worker *w, enum worker_kind kind, const char *text) {
    struct worker_job job = {.kind = kind, .text = text, .waited = true};
    (void)pthread_mutex_lock(&w->lock);
    if (w->stopping) {
        (void)pthread_mutex_unlock(&w->lock);
        return err_set(ERR_CANCELED, "satcheld is ending");
    }
    worker_push(w, &job, false);
    while (!job.done)
        (void)pthread_cond_wait(&w->changed, &w->lock);
    (void)pthread_mutex_unlock(&w->lock);
    return job.result < 0 ? err_set(job.result, "%s", job.error) : job.result;
}

static void worker_post(struct worker *w, enum worker_kind kind, cJSON *document, bool urgent) {
    struct worker_job *job = calloc(1, sizeof *job);
    if (!job) {
        log_error("out of memory");
        cJSON_Delete(document);
        return;
    }
    *job = (struct worker_job){.kind = kind, .document = document};
    (void)pthread_mutex_lock(&w->lock);
    worker_push(w, job, urgent);
    (void)pthread_mutex_unlock(&w->lock);
}

int worker_enroll(struct worker *w, const char *link) {
    return worker_call(w, WORKER_ENROLL, link);
}

int worker_credential(struct worker *w, const char *password) {
    return worker_call(w, WORKER_CREDENTIAL, password);
}

int worker_leave(struct worker *w) {
    return worker_call(w, WORKER_LEAVE, NULL);
}

/* Orders do not wait behind a password that is being tried. */
void worker_state(struct worker *w, cJSON *document) {
    const cJSON *orders = json_array(document, "orders");
    worker_post(w, WORKER_STATE, document, orders && orders->child);
}

void worker_acknowledged(struct worker *w, const char *order, bool last) {
    cJSON *document = cJSON_CreateObject();
    if (json_add_str(document, "order", order) < 0 || json_add_bool(document, "last", last) < 0)
        log_error("out of memory");
    worker_post(w, WORKER_ACKNOWLEDGED, document, false);
}

void worker_certificate(struct worker *w, const char *pem) {
    worker_post(w, WORKER_CERTIFICATE, pem ? cJSON_CreateString(pem) : NULL, false);
}

void worker_kick(struct worker *w) {
    (void)pthread_mutex_lock(&w->lock);
    w->kicked = true;
    (void)pthread_cond_broadcast(&w->changed);
    (void)pthread_mutex_unlock(&w->lock);
}

/* Counting reads every directory of the ciphertext: with an own look at the vault, so that nobody waits for
 * it, and not often. */
static void worker_count_vault(struct worker *w) {
    struct board_view v;
    struct vault vault;
    struct vault_status status;
    (void)board_get(w->agent->board, &v);
    int64_t began = clock_boot_ms();
    if (began < v.vault_count_after)
        return;
    if (vault_init(&vault, w->agent->vault.driver, w->agent->paths->ciphertext, w->agent->paths->vault) < 0)
        return;
    if (vault_describe(&vault, true, &status) == 0) {
        struct board_view *view = board_begin(w->agent->board);
        view->vault_bytes = (int64_t)status.bytes;
        view->vault_count_after = clock_boot_ms() + 20 * (clock_boot_ms() - began);
        board_end(w->agent->board);
    }
    vault_finish(&vault);
}

void worker_look(struct worker *w) {
    struct keyring keyring;
    struct keyring_status status;
    keyring_libsecret_init(&keyring);
    keyring.timeout_ms = WORKER_LOOK_MS;
    keyring_status(&keyring, &status);
    struct board_view *v = board_begin(w->agent->board);
    bool usable = status.available && !status.locked,
         news = usable && (!v->keyring_available || v->keyring_locked);
    v->keyring_available = status.available;
    v->keyring_locked = status.locked;
    board_end(w->agent->board);
    if (news)
        worker_kick(w); /* what waited for the keyring need not wait for its next try */
    worker_count_vault(w);
}

static int worker_do(struct agent *a, struct worker_job *job) {
    uint64_t count;
    (void)!read(a->cancel, &count, sizeof count);
    switch (job->kind) {
    case WORKER_ENROLL:
        return agent_enroll(a, job->text);
    case WORKER_CREDENTIAL:
        return agent_credential(a, job->text);
    case WORKER_LEAVE:
        return agent_leave(a);
    case WORKER_STATE:
        agent_take(a, job->document);
        return 0;
    case WORKER_ACKNOWLEDGED:
        return json_bool(job->document, "last", false) ? agent_forget(a)
                                                       : agent_lock_told(a, json_str(job->document, "order"));
    case WORKER_CERTIFICATE:
        return agent_take_certificate(a, cJSON_GetStringValue(job->document));
    }
    return err_set(ERR_INVALID, "an unknown job");
}

/* The next job; NULL when there is none and it is time to reconcile or to end. */
static struct worker_job *worker_next(struct worker *w) {
    struct worker_job *job = NULL;
    (void)pthread_mutex_lock(&w->lock);
    for (;;) {
        job = w->stopping ? NULL : w->first;
        if (job || w->stopping || w->kicked)
            break;
        if (clock_left(w->agent->retry_at) == 0)
            break;
        wait_until(&w->changed, &w->lock, w->agent->retry_at);
    }
    w->kicked = false;
    if (job) {
        w->first = job->next;
        if (!w->first)
            w->last = &w->first;
    }
    (void)pthread_mutex_unlock(&w->lock);
    return job;
}

static void worker_finish_job(struct worker *w, struct worker_job *job, int result) {
    (void)pthread_mutex_lock(&w->lock);
    job->result = result;
    (void)snprintf(job->error, sizeof job->error, "%s", result < 0 ? err_text() : "");
    job->done = true;
    bool waited = job->waited;
    (void)pthread_cond_broadcast(&w->changed);
    (void)pthread_mutex_unlock(&w->lock);
    if (!waited) {
        if (result < 0)
            log_warning("%s", err_text());
        cJSON_Delete(job->document);
        free(job);
    }
}

static void *worker_run(void *userdata) {
    struct worker *w = userdata;
    struct agent *a = w->agent;
    agent_reconcile(a);
    for (;;) {
        struct worker_job *job = worker_next(w);
        (void)pthread_mutex_lock(&w->lock);
        bool stopping = w->stopping;
        (void)pthread_mutex_unlock(&w->lock);
        if (stopping && !job)
            return NULL;
        int result = job ? worker_do(a, job) : 0;
        char error[1024];
        (void)snprintf(error, sizeof error, "%s", err_text());
        agent_reconcile(a);
        if (job) {
            (void)err_set(result, "%s", error);
            worker_finish_job(w, job, result);
        }
    }
}

int worker_start(struct worker *w) {
    return pthread_create(&w->thread, NULL, worker_run, w) == 0
               ? 0
               : err_set(ERR_SYSTEM, "cannot start a thread");
}

void worker_stop(struct worker *w) {
    (void)pthread_mutex_lock(&w->lock);
    w->stopping = true;
    (void)!write(w->agent->cancel, &(uint64_t){1}, sizeof(uint64_t));
    (void)pthread_cond_broadcast(&w->changed);
    (void)pthread_mutex_unlock(&w->lock);
    (void)pthread_join(w->thread, NULL);
    /* Callers that still wait are told; their jobs live on their own stacks. */
    (void)pthread_mutex_lock(&w->lock);
    for (struct worker_job *job = w->first; job;) {
        struct worker_job *next = job->next;
        job->result = ERR_CANCELED;
        (void)snprintf(job->error, sizeof job->error, "satcheld is ending");
        if (job->waited) {
            job->done = true;
        } else {
            cJSON_Delete(job->document);
            free(job);
        }
        job = next;
    }
    w->first = NULL;
    (void)pthread_cond_broadcast(&w->changed);
    (void)pthread_mutex_unlock(&w->lock);
}
