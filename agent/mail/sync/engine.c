#include "agent/mail/sync/engine.h"
#include "agent/mail/sync/list.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/encode.h"
#include "platform/base/err.h"
#include "platform/base/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>

#define CONNECT_MS 30000
#define POLL_MS 60000         /* STATUS of all folders */
#define POLL_NO_IDLE_MS 30000 /* the same where the server has no IDLE */
#define SETTLE_MS 20          /* readers rename in bunches */
#define BACKOFF_MIN_MS 1000
#define BACKOFF_MAX_MS 300000
#define AUTH_RETRY_MS 300000
#define ORDERS_MAX 64
#define REPEATS_MAX 3 /* passes over INBOX without an IDLE in between */

struct engine {
    pthread_t thread;
    pthread_mutex_t lock;
    int cancel; /* eventfd: readable while `stop` or `next` wait */
    int nudge;  /* eventfd: readable while `orders` wait */
    struct report *report;

    /* orders; under the lock */
    struct engine_config *next;
    bool stop;
    int64_t orders[ORDERS_MAX];
    size_t n_orders;

    /* the thread's own */
    struct engine_config *config;
    struct sync sync;
    struct folder_list folders;
    int wake; /* epoll: nudge and the Maildir's watch */
    bool open;
    bool no_idle; /* the server refused IDLE in this session */
    unsigned failures;
    int64_t next_pass; /* clock_boot_ms() */
};

void engine_config_destroy(struct engine_config *c) {
    if (!c)
        return;
    account_destroy(c->account);
    free(c->vault);
    free(c);
}

/* -- orders --------------------------------------------------------------------------------------------- */

static void raise_event(int fd) {
    (void)eventfd_write(fd, 1);
}

static void clear_event(int fd) {
    eventfd_t value;
    (void)eventfd_read(fd, &value);
}

void engine_configure(struct engine *e, struct engine_config *config) {
    (void)pthread_mutex_lock(&e->lock);
    engine_config_destroy(e->next);
    e->next = config;
    raise_event(e->cancel);
    (void)pthread_mutex_unlock(&e->lock);
}

void engine_sync(struct engine *e, int64_t id) {
    (void)pthread_mutex_lock(&e->lock);
    bool full = e->n_orders == ORDERS_MAX;
    if (!full)
        e->orders[e->n_orders++] = id;
    raise_event(e->nudge);
    (void)pthread_mutex_unlock(&e->lock);
    if (full)
        report_synced(e->report, id, false, "too many requests to sync at once");
}

static size_t orders_waiting(struct engine *e) {
    (void)pthread_mutex_lock(&e->lock);
    size_t n = e->n_orders;
    (void)pthread_mutex_unlock(&e->lock);
    return n;
}

/* The same, but 0 when a configuration waits, which may have come before them. */
static size_t orders_without_config(struct engine *e) {
    (void)pthread_mutex_lock(&e->lock);
    size_t n = e->next ? 0 : e->n_orders;
    (void)pthread_mutex_unlock(&e->lock);
    return n;
}

/* Answers the first `n` orders. */
static void orders_answer(struct engine *e, size_t n, bool ok, const char *text) {
    int64_t ids[ORDERS_MAX];
    (void)pthread_mutex_lock(&e->lock);
    n = n < e->n_orders ? n : e->n_orders;
    memcpy(ids, e->orders, n * sizeof *ids);
    memmove(e->orders, e->orders + n, (e->n_orders - n) * sizeof *ids);
    e->n_orders -= n;
    if (e->n_orders == 0)
        clear_event(e->nudge);
    (void)pthread_mutex_unlock(&e->lock);
    for (size_t i = 0; i < n; i++)
        report_synced(e->report, ids[i], ok, text);
}

/* -- the vault's side ----------------------------------------------------------------------------------- */

static void engine_close(struct engine *e) {
    folder_list_finish(&e->folders);
    watch_close(&e->sync.watch);
    state_close(e->sync.state);
    store_close(&e->sync.store);
    e->sync.state = NULL;
    e->open = false;
}

static int engine_open(struct engine *e) {
    char path[4096];
    if (e->open)
        return store_check(&e->sync.store);
    e->sync.keep_days = e->config->keep_days;
    int r = store_open(e->config->vault, e->config->device, &e->sync.store);
    if (r < 0)
        return r;
    e->open = true;
    if (snprintf(path, sizeof path, "%s/mail-state/sync.db", e->config->vault) >= (int)sizeof path)
        return err_set(ERR_INVALID, "the vault's path is too long");
    r = state_open(path, &e->sync.state);
    if (r == 0)
        r = state_count(e->sync.state, &e->sync.done);
    if (r == 0)
        r = watch_open(&e->sync.watch);
    struct epoll_event event = {.events = EPOLLIN};
    if (r == 0 && epoll_ctl(e->wake, EPOLL_CTL_ADD, e->sync.watch.fd, &event) != 0)
        r = err_errno("cannot watch the mail folders");
    e->report->messages = e->sync.done;
    return r;
}

/* Turns inotify's hints into `touched`. */
static void engine_take_hints(struct engine *e) {
    int64_t id = 0;
    enum watch_result what;
    while ((what = watch_take(&e->sync.watch, &id)) != WATCH_NONE) {
        struct sync_folder *f = what == WATCH_FOLDER ? folder_list_find(&e->folders, id) : NULL;
        if (f)
            f->touched = true;
        for (size_t i = 0; what == WATCH_ALL && i < e->folders.n; i++)
            e->folders.items[i]->touched = true;
    }
}

/* -- passes --------------------------------------------------------------------------------------------- */

/* Gathers what the status says about the folders. */
static const char *engine_summary(struct engine *e) {
    struct report *report = e->report;
    const struct sync_folder *bad = NULL;
    report->pending = 0;
    for (size_t i = 0; i < e->folders.n; i++) {
        const struct sync_folder *f = e->folders.items[i];
        report->pending += f->pending;
        bad = bad ? bad : *f->problem ? f : NULL;
    }
    report->folders = (int64_t)e->folders.n;
    report->messages = e->sync.done;
    if (bad)
        (void)snprintf(report->text, sizeof report->text, "%.150s: %s", bad->directory, bad->problem);
    else
        (void)snprintf(report->text, sizeof report->text, "%s", e->folders.problem);
    return bad ? report->text : NULL;
}

static int engine_status_all(struct engine *e) {
    e->sync.total = 0;
    for (size_t i = 0; i < e->folders.n; i++) {
        struct sync_folder *f = e->folders.items[i];
        f->problem[0] = '\0';
        int r = folder_list_status(&e->sync, f);
        if (r < 0)
            return r;
        e->sync.total += f->status.messages;
    }
    return 0;
}

/* Every folder, both ways; then the answer to whoever asked for it before it began. */
static int engine_pass(struct engine *e) {
    size_t orders = orders_waiting(e);
    int r = store_check(&e->sync.store);
    if (r == 0)
        r = folder_list_update(&e->sync, &e->folders);
    if (r == 0)
        r = engine_status_all(e);
    if (r == 0)
        r = state_count(e->sync.state, &e->sync.done);
    engine_take_hints(e);
    e->sync.bytes = 0;
    (void)engine_summary(e);
    report_status(e->report);
    for (size_t i = 0; r == 0 && i < e->folders.n; i++) {
        struct sync_folder *f = e->folders.items[i];
        if (*f->problem || !(folder_list_needs_pass(f) || e->sync.watch.blind))
            continue;
        r = sync_folder_run(&e->sync, f);
        (void)engine_summary(e);
        report_status(e->report);
    }
    if (r < 0)
        return r;
    const char *problem = engine_summary(e);
    e->failures = 0;
    e->report->last_sync = clock_real_ms();
    e->next_pass = clock_boot_ms() + (e->no_idle ? POLL_NO_IDLE_MS : POLL_MS);
    report_flush(e->report);
    orders_answer(e, orders, !problem, problem ? problem : "");
    return 0;
}

/* Folders where something happened: a look at the disk first, the server only where it has to know. */
static int engine_local(struct engine *e, bool connected) {
    int r = 0;
    engine_take_hints(e);
    for (size_t i = 0; r == 0 && i < e->folders.n; i++) {
        struct sync_folder *f = e->folders.items[i];
        if (!f->touched)
            continue;
        r = sync_folder_count(&e->sync, f);
        if (r == 0 && f->pending > 0 && connected)
            r = sync_folder_run(&e->sync, f);
    }
    (void)engine_summary(e);
    return r;
}

/* -- waiting -------------------------------------------------------------------------------------------- */

/* Waits for an order, a reader or the deadline. ERR_CANCELED. */
static int engine_wait(struct engine *e, int64_t deadline) {
    struct pollfd p[2] = {{.fd = e->cancel, .events = POLLIN}, {.fd = e->wake, .events = POLLIN}};
    report_flush(e->report);
    int n = poll(p, 2, clock_left(deadline));
    if (n < 0 && errno != EINTR)
        return err_errno("cannot wait");
    return n > 0 && p[0].revents ? err_set(ERR_CANCELED, "canceled") : 0;
}

/* Waits in IDLE on INBOX. 0: something happened, or it is time for a pass. */
static int engine_idle(struct engine *e) {
    struct imap_session *imap = e->sync.imap;
    struct sync_folder *inbox = e->folders.items[0];
    if (e->no_idle)
        return engine_wait(e, e->next_pass);
    if (e->sync.selected != inbox) {
        int r = imap_select(imap, inbox->quoted);
        if (r != 0)
            return r < 0 ? r : err_set(ERR_PROTOCOL, "the mail server does not open INBOX: %s", imap->text);
        e->sync.selected = inbox;
        imap->changed = imap->exists != inbox->row.messages || imap->modseq != inbox->row.modseq;
        if (imap->changed)
            return 0;
    }
    report_flush(e->report);
    int r = imap_idle(imap, e->wake, e->next_pass);
    if (r > 0) {
        log_info("the mail server refuses IDLE: asking every %d s", POLL_NO_IDLE_MS / 1000);
        e->no_idle = true;
        e->report->push = "poll";
        r = 0;
    }
    return r;
}

/* What the wait brought: changes of readers, changes of INBOX. */
static int engine_react(struct engine *e, unsigned *repeats) {
    struct sync_folder *inbox = e->folders.items[0];
    int r = 0;
    if (e->sync.imap->changed && ++*repeats <= REPEATS_MAX) {
        e->sync.bytes = 0;
        e->sync.total = e->sync.done;
        r = sync_folder_run(&e->sync, inbox);
        e->sync.total = e->sync.done;
    } else {
        *repeats = 0;
        e->sync.imap->changed = false;
    }
    struct pollfd p = {.fd = e->sync.watch.fd, .events = POLLIN};
    if (r == 0 && poll(&p, 1, 0) > 0)
        r = sync_pause(&e->sync, SETTLE_MS);
    if (r == 0)
        r = engine_local(e, true);
    report_status(e->report);
    return r;
}

/* One connection, until it breaks or is canceled. */
static int engine_session(struct engine *e) {
    unsigned repeats = 0;
    e->sync.selected = NULL;
    e->no_idle = false;
    int r = engine_open(e);
    if (r == 0)
        r = imap_session_open(&e->config->account->endpoint, e->cancel, clock_boot_ms() + CONNECT_MS,
                              &e->sync.imap);
    if (r < 0)
        return r;
    e->no_idle = !(e->sync.imap->capabilities & IMAP_CAP_IDLE);
    e->report->imap = "ok";
    e->report->push = e->no_idle ? "poll" : "idle";
    e->report->retry_ms = 0;
    e->report->text[0] = '\0';
    report_flush(e->report);
    r = engine_pass(e);
    while (r == 0) {
        r = engine_idle(e);
        if (r == 0)
            r = orders_waiting(e) || clock_boot_ms() >= e->next_pass ? engine_pass(e)
                                                                     : engine_react(e, &repeats);
    }
    return r;
}

/* -- failures ------------------------------------------------------------------------------------------- */

/* 1 s, 2 s, ... 5 min, between half and all of it, so that a thousand laptops do not come back at once. */
static int64_t backoff_ms(unsigned failures, int code) {
    uint32_t random = 0;
    if (code == ERR_AUTH)
        return AUTH_RETRY_MS;
    int64_t most = failures > 8 ? BACKOFF_MAX_MS : (int64_t)BACKOFF_MIN_MS << failures;
    most = most > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : most;
    random_bytes(&random, sizeof random);
    return most / 2 + (int64_t)random % (most / 2 + 1);
}

/* Says what is wrong and waits; an order to sync ends the wait. */
static void engine_fail(struct engine *e, int code) {
    struct report *report = e->report;
    size_t orders = orders_waiting(e); /* one that comes from now on is worth a new try */
    (void)snprintf(report->text, sizeof report->text, "%s", err_text());
    log_warning("mail: %s", err_name(code));
    if (code != ERR_SYSTEM) /* a full disk says nothing about the server */
        report->imap = report_imap_word(code);
    report->retry_ms = backoff_ms(e->failures++, code);
    int64_t deadline = clock_boot_ms() + report->retry_ms;
    report_flush(report);
    orders_answer(e, orders, false, report->text);
    if (code == ERR_SYSTEM || code == ERR_WRONG_STATE)
        engine_close(e);
    while (clock_left(deadline) > 0 && orders_waiting(e) == 0) {
        char text[REPORT_TEXT_MAX];
        memcpy(text, report->text, sizeof text);
        if (engine_wait(e, deadline) < 0)
            return;
        if (e->open && engine_local(e, false) < 0)
            engine_close(e);
        memcpy(report->text, text, sizeof text); /* the failure stays what there is to say */
    }
}

/* -- the thread ----------------------------------------------------------------------------------------- */

/* Takes new orders. false: stop. */
static bool engine_take(struct engine *e) {
    (void)pthread_mutex_lock(&e->lock);
    struct engine_config *next = steal(e->next);
    bool stop = e->stop;
    if (!stop)
        clear_event(e->cancel);
    (void)pthread_mutex_unlock(&e->lock);
    if (next) {
        engine_close(e);
        engine_config_destroy(e->config);
        e->config = next;
        e->failures = 0;
    }
    return !stop;
}

static void *engine_main(void *ctx) {
    struct engine *e = ctx;
    while (engine_take(e)) {
        if (!e->config) {
            struct pollfd p[2] = {{.fd = e->cancel, .events = POLLIN}, {.fd = e->wake, .events = POLLIN}};
            (void)poll(p, 2, -1);
            orders_answer(e, orders_without_config(e), false, "no mail account is set up");
            continue;
        }
        int r = engine_session(e);
        if (r == ERR_CANCELED)
            imap_session_logout(e->sync.imap);
        else
            imap_session_close(e->sync.imap);
        e->sync.imap = NULL;
        if (r != ERR_CANCELED)
            engine_fail(e, r);
    }
    orders_answer(e, ORDERS_MAX, false, "the mail service is stopping");
    engine_close(e);
    return NULL;
}

static void engine_destroy(struct engine *e) {
    engine_config_destroy(e->config);
    engine_config_destroy(e->next);
    fd_cleanup(&e->cancel);
    fd_cleanup(&e->nudge);
    fd_cleanup(&e->wake);
    (void)pthread_mutex_destroy(&e->lock);
    free(e);
}

int engine_start(struct report *report, struct engine **ret) {
    struct engine *e = calloc(1, sizeof *e);
    if (!e)
        return err_set(ERR_SYSTEM, "out of memory");
    e->report = report;
    (void)pthread_mutex_init(&e->lock, NULL);
    e->sync = (struct sync){.store = STORE_INIT, .watch = WATCH_INIT, .report = report};
    e->cancel = e->sync.cancel = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    e->nudge = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    e->wake = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    int code = 0;
    if (e->cancel < 0 || e->nudge < 0 || e->wake < 0 ||
        epoll_ctl(e->wake, EPOLL_CTL_ADD, e->nudge, &event) != 0 ||
        (code = pthread_create(&e->thread, NULL, engine_main, e)) != 0) {
        errno = code ? code : errno;
        int r = err_errno("cannot start the mail engine");
        engine_destroy(e);
        return r;
    }
    *ret = e;
    return 0;
}

int engine_stop(struct engine *e, int64_t deadline) {
    (void)pthread_mutex_lock(&e->lock);
    e->stop = true;
    raise_event(e->cancel);
    (void)pthread_mutex_unlock(&e->lock);
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    int left = clock_left(deadline);
    until.tv_sec += left / 1000;
    until.tv_nsec += (long)(left % 1000) * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    if (pthread_clockjoin_np(e->thread, NULL, CLOCK_MONOTONIC, &until) != 0)
        return err_set(ERR_TIMEOUT, "the mail engine does not stop");
    engine_destroy(e);
    return 0;
}
