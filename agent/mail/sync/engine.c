#include "agent/mail/sync/engine.h"
#include "agent/mail/sync/work.h"
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
#define BACKOFF_MIN_MS 1000
#define BACKOFF_MAX_MS 300000
#define BACKOFF_SERVER_MAX_MS 1800000
#define AUTH_RETRY_MS 300000
#define ORDERS_MAX 64
#define LAPS_MAX 20
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
    struct order {
        int64_t id;
        bool confirm;
    } orders[ORDERS_MAX];
    size_t n_orders;

    /* the thread's own */
    struct engine_config *config;
    struct sync sync;
    struct folder_list folders;
    int wake; /* epoll: nudge and the Maildir's watch */
    bool open;
    bool poll;        /* the server does not tell by itself */
    bool is_up;       /* the session began well */
    bool hiccup;      /* one ended, and nothing came to its end since */
    bool is_done;     /* nothing was done since the last time when nothing was left to do */
    size_t taken;     /* orders that the pass under way answers */
    unsigned laps;    /* turns without a wait in between, because something was left */
    unsigned repeats; /* looks at INBOX without a wait in between */
    unsigned failures;
    int64_t server_backoff_ms; /* what the server asked for when the session ended */
    int64_t next_pass;         /* clock_boot_ms() */
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

void engine_sync(struct engine *e, int64_t id, bool confirm) {
    (void)pthread_mutex_lock(&e->lock);
    bool full = e->n_orders == ORDERS_MAX;
    if (!full)
        e->orders[e->n_orders++] = (struct order){.id = id, .confirm = confirm};
    raise_event(e->nudge);
    (void)pthread_mutex_unlock(&e->lock);
    if (full)
        report_synced(e->report, id, false, "too many requests to sync at once");
}

/* How many wait, and whether one of them confirms deletions. */
static size_t orders_take(struct engine *e, bool *ret_confirm) {
    (void)pthread_mutex_lock(&e->lock);
    size_t n = e->n_orders;
    for (size_t i = 0; i < n; i++)
        *ret_confirm = *ret_confirm || e->orders[i].confirm;
    (void)pthread_mutex_unlock(&e->lock);
    return n;
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
    struct order answered[ORDERS_MAX];
    (void)pthread_mutex_lock(&e->lock);
    n = n < e->n_orders ? n : e->n_orders;
    memcpy(answered, e->orders, n * sizeof *answered);
    memmove(e->orders, e->orders + n, (e->n_orders - n) * sizeof *e->orders);
    e->n_orders -= n;
    if (e->n_orders == 0)
        clear_event(e->nudge);
    (void)pthread_mutex_unlock(&e->lock);
    for (size_t i = 0; i < n; i++)
        report_synced(e->report, answered[i].id, ok, text);
}

/* -- the vault's side ----------------------------------------------------------------------------------- */

static void engine_close(struct engine *e) {
    folder_list_finish(&e->folders);
    watch_close(&e->sync.watch);
    state_close(e->sync.state);
    store_close(&e->sync.store);
    e->sync.state = NULL;
    e->sync.tree = false;
    e->open = false;
}

static int engine_open(struct engine *e) {
    char path[4096];
    if (e->open)
        return store_check(&e->sync.store);
    e->sync.keep_days = e->config->keep_days;
    e->sync.age_at = 0;
    int r = store_open(e->config->vault, e->config->device, &e->sync.store);
    if (r < 0)
        return r;
    e->open = true;
    if (snprintf(path, sizeof path, "%s/mail-state/sync.db", e->config->vault) >= (int)sizeof path)
        return err_set(ERR_INVALID, "the vault's path is too long");
    r = state_open(path, &e->sync.rebuilt, &e->sync.state);
    if (r == 0)
        r = state_counts_all(e->sync.state, &e->sync.counts);
    if (r == 0)
        r = watch_open(&e->sync.watch);
    struct epoll_event event = {.events = EPOLLIN};
    if (r == 0 && epoll_ctl(e->wake, EPOLL_CTL_ADD, e->sync.watch.fd, &event) != 0)
        r = err_errno("cannot watch the mail folders");
    e->report->messages = e->sync.counts.have;
    return r;
}

/* -- work ----------------------------------------------------------------------------------------------- */

/* Every folder, both ways. Whoever asked for it before it began is answered when the downloads are through.
 */
static int engine_full(struct engine *e) {
    bool confirm = false;
    e->taken = orders_take(e, &confirm);
    e->sync.confirmed = confirm;
    int r = work_full(&e->sync);
    e->sync.confirmed = false;
    if (r < 0)
        return r;
    e->is_done = false;
    e->failures = 0;
    e->next_pass = clock_boot_ms() + (e->poll ? POLL_NO_IDLE_MS : POLL_MS);
    return 0;
}

/* Everything is up and down, as far as it can be. */
static void engine_done(struct engine *e) {
    const char *problem = work_summary(&e->sync);
    if (!e->is_done)
        e->report->last_sync = clock_real_ms();
    work_done(&e->sync);
    e->is_done = true;
    e->hiccup = false;
    report_flush(e->report);
    if (e->taken)
        orders_answer(e, e->taken, !problem, problem ? problem : "");
    e->taken = 0;
}

/* Waits for an order, a reader or the deadline. ERR_CANCELED. */
static int engine_wait(struct engine *e, int64_t deadline) {
    struct pollfd p[2] = {{.fd = e->cancel, .events = POLLIN}, {.fd = e->wake, .events = POLLIN}};
    report_flush(e->report);
    int n = poll(p, 2, clock_left(deadline));
    if (n < 0 && errno != EINTR)
        return err_errno("cannot wait");
    return n > 0 && p[0].revents ? err_set(ERR_CANCELED, "canceled") : 0;
}

/* Opens INBOX, so that the server tells what happens there. 1: something did, since it was looked at. */
static int engine_select_inbox(struct engine *e) {
    struct sync *s = &e->sync;
    struct sync_folder *inbox = e->folders.items[0];
    if (s->selected == inbox)
        return 0;
    s->selected = NULL;
    int r = imap_select(s->imap, inbox->quoted);
    if (r != 0)
        return r < 0 ? r : err_set(ERR_PROTOCOL, "the mail server does not open INBOX: %s", s->imap->text);
    s->selected = inbox;
    if (inbox->asks || inbox->dirty)
        return 0;
    s->imap->changed = s->imap->exists != inbox->row.messages || s->imap->uidnext != inbox->row.uidnext ||
                       (inbox->row.modseq && s->imap->modseq != inbox->row.modseq);
    return s->imap->changed;
}

/* 0: something happened, or it is time for a pass. */
static int engine_idle(struct engine *e) {
    struct imap_session *imap = e->sync.imap;
    if (e->poll)
        return engine_wait(e, e->next_pass);
    int r = engine_select_inbox(e);
    if (r != 0)
        return r < 0 ? r : 0;
    int64_t look = INT64_MAX;
    work_watch(&e->sync, &e->config->account->endpoint);
    r = work_glance(&e->sync, &look);
    if (r < 0 || work_is_told(&e->sync))
        return r;
    int64_t deadline = look < e->next_pass ? look : e->next_pass;
    report_flush(e->report);
    if (!imap->changed) /* what the server tells from here on is new */
        e->repeats = 0;
    /* With NOTIFY as well: what happens in the selected mailbox is told during IDLE at once. */
    if (e->sync.notify && !(imap->capabilities & IMAP_CAP_IDLE))
        return imap_wait(imap, e->wake, deadline);
    r = imap_idle(imap, e->wake, deadline);
    if (r > 0) {
        log_info("the mail server refuses IDLE: asking every %d s", POLL_NO_IDLE_MS / 1000);
        e->poll = true;
        e->report->push = "poll";
        r = 0;
    }
    return r;
}

/* What the wait brought. A mailbox that changes all the time gets its turns, and no more. */
static int engine_news(struct engine *e) {
    struct sync *s = &e->sync;
    if (s->imap->changed && ++e->repeats > REPEATS_MAX) {
        e->repeats = 0;
        s->imap->changed = false;
    } else if (!s->imap->changed) {
        e->repeats = 0;
    }
    int r = work_news(s);
    e->is_done = e->is_done && !s->ran;
    report_status(e->report);
    return r;
}

/* Between two steps of a download. */
static int engine_step(struct engine *e) {
    struct sync *s = &e->sync;
    struct pollfd p = {.fd = e->cancel, .events = POLLIN};
    e->is_done = false;
    int r = work_download(s);
    if (r == 0 && poll(&p, 1, 0) > 0)
        r = err_set(ERR_CANCELED, "canceled");
    if (r == 0 && (work_hints(s) || s->imap->changed || work_is_told(s)))
        r = work_news(s);
    return r;
}

/* How the server tells of news. */
static int engine_push(struct engine *e) {
    struct imap_session *imap = e->sync.imap;
    int r = imap->capabilities & IMAP_CAP_NOTIFY ? imap_notify(imap) : IMAP_NO;
    if (r < 0)
        return r;
    e->sync.notify = r == IMAP_OK;
    e->poll = !e->sync.notify && !(imap->capabilities & IMAP_CAP_IDLE);
    e->report->push = e->sync.notify ? "notify" : e->poll ? "poll" : "idle";
    return 0;
}

static int engine_connect(struct engine *e) {
    const struct account *account = e->config->account;
    e->sync.selected = NULL;
    e->sync.notify = false;
    int r = engine_open(e);
    if (r == 0)
        r = imap_session_open(&account->endpoint, account->compress, e->cancel, clock_boot_ms() + CONNECT_MS,
                              &e->sync.imap);
    if (r < 0)
        return r;
    e->sync.imap->on_mailbox = folder_list_on_mailbox;
    e->sync.imap->ctx = &e->sync;
    return engine_push(e);
}

/* One connection, until it breaks or is canceled. */
static int engine_session(struct engine *e) {
    e->is_up = false;
    e->taken = 0;
    int r = engine_connect(e);
    if (r < 0)
        return r;
    e->is_up = true;
    e->report->imap = "ok";
    e->report->retry_ms = 0;
    e->report->text[0] = '\0';
    e->repeats = 0;
    e->is_done = false;
    report_flush(e->report);
    r = work_begin(&e->sync);
    if (r == 0)
        r = engine_full(e);
    while (r == 0) {
        if (orders_waiting(e) > e->taken || clock_boot_ms() >= e->next_pass) {
            r = engine_full(e);
        } else if (work_is_left(&e->sync)) {
            r = engine_step(e);
        } else if (work_is_due(&e->sync) && ++e->laps < LAPS_MAX) {
            r = engine_news(e);
        } else {
            e->laps = 0;
            engine_done(e);
            r = engine_idle(e);
            if (r == 0 && orders_waiting(e) == 0)
                r = engine_news(e);
        }
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

/* Whether a session that had begun well came to an end that says nothing about the next: Dovecot ends those
 * whose mailbox another one renames, and a reader may cut a file that is being sent. Once, until a pass comes
 * to its end. */
static bool is_hiccup(struct engine *e, int code) {
    bool hiccup = e->is_up && !e->hiccup && e->server_backoff_ms == 0 &&
                  (code == ERR_UNREACHABLE || code == ERR_PROTOCOL);
    e->hiccup = e->hiccup || hiccup;
    if (hiccup)
        log_info("the mail session ended (%s): a new one begins", err_text());
    return hiccup;
}

/* Says what is wrong and waits; an order to sync ends the wait. */
static void engine_fail(struct engine *e, int code) {
    struct report *report = e->report;
    size_t orders = orders_waiting(e); /* one that comes from now on is worth a new try */
    e->taken = 0;
    (void)snprintf(report->text, sizeof report->text, "%s", err_text());
    log_warning("mail: %s", err_name(code));
    if (code != ERR_SYSTEM) /* a full disk says nothing about the server */
        report->imap = report_imap_word(code);
    report->retry_ms = backoff_ms(e->failures++, code);
    if (e->server_backoff_ms > report->retry_ms)
        report->retry_ms =
            e->server_backoff_ms < BACKOFF_SERVER_MAX_MS ? e->server_backoff_ms : BACKOFF_SERVER_MAX_MS;
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
        if (e->open && work_offline(&e->sync) < 0)
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
        lookouts_end(&e->sync.lookouts);
        e->server_backoff_ms = e->sync.imap ? e->sync.imap->backoff_ms : 0;
        if (r == ERR_CANCELED)
            imap_session_logout(e->sync.imap);
        else
            imap_session_close(e->sync.imap);
        e->sync.imap = NULL;
        bool again = e->sync.reconnect || is_hiccup(e, r);
        e->sync.reconnect = false;
        if (r != ERR_CANCELED && !again)
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
    lookouts_close(&e->sync.lookouts);
    (void)pthread_mutex_destroy(&e->lock);
    free(e);
}

int engine_start(struct report *report, struct engine **ret) {
    struct engine *e = calloc(1, sizeof *e);
    if (!e)
        return err_set(ERR_SYSTEM, "out of memory");
    e->report = report;
    (void)pthread_mutex_init(&e->lock, NULL);
    e->sync =
        (struct sync){.store = STORE_INIT, .watch = WATCH_INIT, .report = report, .folders = &e->folders};
    e->cancel = e->sync.cancel = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    e->nudge = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    e->wake = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    int code = lookouts_open(&e->sync.lookouts);
    if (code < 0 || e->cancel < 0 || e->nudge < 0 || e->wake < 0 ||
        epoll_ctl(e->wake, EPOLL_CTL_ADD, e->nudge, &event) != 0 ||
        epoll_ctl(e->wake, EPOLL_CTL_ADD, e->sync.lookouts.called, &event) != 0 ||
        (code = pthread_create(&e->thread, NULL, engine_main, e)) != 0) {
        errno = code > 0 ? code : errno;
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
