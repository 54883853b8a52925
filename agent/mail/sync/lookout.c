#include "agent/mail/sync/lookout.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#define CONNECT_MS 30000
#define IDLE_MS 1500000 /* before the half hour after which servers end a session that says nothing */
#define RETRY_MS 300000

struct lookout {
    pthread_t thread;
    const struct imap_endpoint *endpoint; /* borrowed */
    char *mailbox;                        /* owned */
    int called;                           /* borrowed */
    int cancel;                           /* eventfd; owned */
    int64_t retry_at;                     /* clock_boot_ms(): one that failed is not replaced before */
    atomic_bool failed, watching, news;
};

/* -- the thread ----------------------------------------------------------------------------------------- */

static void call(struct lookout *o) {
    atomic_store(&o->news, true);
    (void)eventfd_write(o->called, 1);
}

static int look_out(struct lookout *o, struct imap_session *s) {
    cleanup(buf) struct buf quoted = {0};
    int r = imap_quote(s, o->mailbox, strlen(o->mailbox), &quoted);
    if (r == 0)
        r = imap_select(s, quoted.data);
    while (r == 0) {
        if (!atomic_exchange(&o->watching, true)) {
            log_info("a mail folder in use is watched by a connection of its own");
            call(o); /* what happened before is not told */
        }
        s->changed = false;
        r = imap_idle(s, -1, clock_boot_ms() + IDLE_MS);
        if (r == 0 && s->changed)
            call(o);
    }
    return r > 0 ? err_set(ERR_REFUSED, "the mail server does not watch it: %s", s->text) : r;
}

static void *lookout_main(void *ctx) {
    struct lookout *o = ctx;
    struct imap_session *s = NULL;
    int r = imap_session_open(o->endpoint, IMAP_COMPRESS_NEVER, o->cancel, clock_boot_ms() + CONNECT_MS, &s);
    if (r == 0)
        r = look_out(o, s);
    if (r == ERR_CANCELED)
        imap_session_logout(s);
    else
        imap_session_close(s);
    if (r != ERR_CANCELED)
        log_info("a mail folder in use is asked for from time to time: %s", err_text());
    atomic_store(&o->watching, false);
    atomic_store(&o->failed, true);
    (void)eventfd_write(o->called, 1);
    return NULL;
}

/* -- the engine's side ---------------------------------------------------------------------------------- */

static void lookout_destroy(struct lookout *o) {
    fd_cleanup(&o->cancel);
    free(o->mailbox);
    free(o);
}

/* NULL: it cannot be started now. */
static struct lookout *lookout_start(const struct imap_endpoint *endpoint, const char *mailbox, int called) {
    struct lookout *o = calloc(1, sizeof *o);
    if (!o)
        return NULL;
    o->endpoint = endpoint;
    o->called = called;
    o->mailbox = strdup(mailbox);
    o->cancel = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    o->retry_at = clock_boot_ms() + RETRY_MS;
    if (o->mailbox && o->cancel >= 0 && pthread_create(&o->thread, NULL, lookout_main, o) == 0)
        return o;
    lookout_destroy(o);
    return NULL;
}

static void lookout_end(struct lookout **o) {
    if (!*o)
        return;
    (void)eventfd_write((*o)->cancel, 1);
    (void)pthread_join((*o)->thread, NULL);
    lookout_destroy(*o);
    *o = NULL;
}

int lookouts_open(struct lookouts *l) {
    l->called = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return l->called < 0 ? err_errno("cannot watch mail folders") : 0;
}

void lookouts_end(struct lookouts *l) {
    for (size_t i = 0; i < LOOKOUTS_MAX; i++) /* all at once */
        if (l->items[i])
            (void)eventfd_write(l->items[i]->cancel, 1);
    for (size_t i = 0; i < LOOKOUTS_MAX; i++)
        lookout_end(&l->items[i]);
}

void lookouts_close(struct lookouts *l) {
    lookouts_end(l);
    fd_cleanup(&l->called);
}

static struct lookout *find(const struct lookouts *l, const char *mailbox) {
    for (size_t i = 0; i < LOOKOUTS_MAX; i++)
        if (l->items[i] && strcmp(l->items[i]->mailbox, mailbox) == 0)
            return l->items[i];
    return NULL;
}

void lookouts_keep(struct lookouts *l, const struct imap_endpoint *endpoint, const char *const *mailboxes,
                   size_t n) {
    n = n < LOOKOUTS_MAX ? n : LOOKOUTS_MAX;
    for (size_t i = 0; i < LOOKOUTS_MAX; i++) {
        struct lookout *o = l->items[i];
        bool wanted = false;
        for (size_t k = 0; o && k < n; k++)
            wanted = wanted || strcmp(o->mailbox, mailboxes[k]) == 0;
        if (o && (!wanted || (atomic_load(&o->failed) && clock_boot_ms() >= o->retry_at)))
            lookout_end(&l->items[i]);
    }
    for (size_t k = 0; k < n; k++)
        for (size_t i = 0; i < LOOKOUTS_MAX && !find(l, mailboxes[k]); i++)
            if (!l->items[i])
                l->items[i] = lookout_start(endpoint, mailboxes[k], l->called);
}

void lookouts_clear(struct lookouts *l) {
    eventfd_t value;
    (void)eventfd_read(l->called, &value);
}

bool lookouts_take(struct lookouts *l, const char *mailbox, bool *ret_news) {
    struct lookout *o = find(l, mailbox);
    *ret_news = o && atomic_exchange(&o->news, false);
    return o && atomic_load(&o->watching);
}
