#include "agent/mail/sync/work.h"
#include "agent/mail/sync/age.h"
#include "agent/mail/sync/download.h"
#include "agent/mail/sync/local.h"
#include "agent/mail/sync/place.h"
#include "agent/mail/sync/renamed.h"
#include "agent/mail/sync/tree.h"
#include "agent/mail/sync/upload.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#define ROUNDS_MAX 6
#define TREE_ROUNDS 4
#define NAMES_MAX 8  /* times that folders are asked for, while they are renamed */
#define SETTLE_MS 20 /* readers rename in bunches */
#define BURST 5      /* so many removals are perhaps the begin of more */
#define BURST_MS 200
#define BURST_MAX_MS 2000
#define LOOK_MS 1000     /* how often INBOX is asked for during downloads, where the server does not tell */
#define IN_USE_MS 600000 /* since a reader last did something in a folder */
#define IN_USE_LOOK_MS 5000 /* how often such a folder is asked for, where the server does not tell */
#define IN_USE_MAX 8
#define AGE_MS 3600000 /* how often messages are looked for that are too old */

/* -- hints ---------------------------------------------------------------------------------------------- */

static void take_event(struct sync *s, const struct watch_event *event) {
    struct folder_list *l = s->folders;
    if (event->what == WATCH_TREE || event->lost) {
        /* A file beside the folders is none of ours, but for the keywords. */
        s->tree = true;
    }
    for (size_t i = 0; event->lost && i < l->n; i++)
        l->items[i]->hints.scan = true;
    struct sync_folder *f =
        event->what != WATCH_TREE && !event->lost ? folder_list_find(l, event->folder) : NULL;
    if (!f)
        return;
    if (!*event->name)
        s->tree = true;
    (void)local_hint(f, event);
    f->used_at = clock_boot_ms();
}

static bool drain(struct sync *s) {
    struct watch_event event;
    bool any = false;
    while (watch_take(&s->watch, &event)) {
        take_event(s, &event);
        any = true;
    }
    return any;
}

static size_t removals(const struct sync *s) {
    size_t n = 0;
    for (size_t i = 0; i < s->folders->n; i++)
        n += s->folders->items[i]->hints.gone.len / sizeof(uint32_t);
    return n;
}

/* Waits until a burst of removals is over, so that it is seen as one. */
static int settle(struct sync *s) {
    struct pollfd p = {.fd = s->watch.fd, .events = POLLIN};
    int64_t end = clock_boot_ms() + BURST_MAX_MS;
    int r = sync_pause(s, SETTLE_MS);
    (void)drain(s);
    while (r == 0 && removals(s) >= BURST && clock_boot_ms() < end && poll(&p, 1, BURST_MS) > 0) {
        r = sync_pause(s, SETTLE_MS);
        (void)drain(s);
    }
    return r;
}

bool work_hints(struct sync *s) {
    (void)drain(s);
    bool any = s->tree;
    for (size_t i = 0; i < s->folders->n; i++) {
        struct sync_folder *f = s->folders->items[i];
        local_forget(s, f);
        any = any || local_touched(f) || upload_due(f);
    }
    return any;
}

bool work_is_due(struct sync *s) {
    bool due = drain(s) || s->tree;
    for (size_t i = 0; !due && i < s->folders->n; i++) {
        const struct sync_folder *f = s->folders->items[i];
        due = f->listed && !f->asks && (f->again || upload_due(f) || (local_touched(f) && !*f->problem));
    }
    return due;
}

/* -- rounds --------------------------------------------------------------------------------------------- */

static int uploads(struct sync *s, bool *any) {
    int r = 0;
    for (size_t i = 0; r == 0 && i < s->folders->n; i++) {
        struct sync_folder *f = s->folders->items[i];
        if (!f->listed || !upload_due(f))
            continue;
        *any = true;
        r = upload_run(s, f);
    }
    return r;
}

/* Folders that were never looked at. */
static int run_new(struct sync *s, bool *any) {
    int r = 0;
    for (size_t i = 0; r == 0 && i < s->folders->n; i++) {
        struct sync_folder *f = s->folders->items[i];
        if (!f->listed || f->row.uidvalidity != 0 || !(f->again || f->dirty) || *f->problem)
            continue;
        *any = s->ran = true;
        r = sync_folder_run(s, f);
        (void)work_summary(s);
        report_status(s->report);
    }
    return r;
}

/* Rounds of uploads and passes until nothing more follows from what was done. `which` says what the first
 * round looks at. */
static int rounds(struct sync *s, bool (*which)(const struct sync *s, const struct sync_folder *f)) {
    int r = 0;
    for (int round = 0; r == 0 && round < ROUNDS_MAX; round++) {
        bool any = false;
        r = run_new(s, &any); /* so that it is known what waits in them */
        if (r == 0)
            r = uploads(s, &any);
        for (size_t i = 0; r == 0 && i < s->folders->n; i++) {
            struct sync_folder *f = s->folders->items[i];
            if (!f->listed || !(f->again || (round == 0 ? which(s, f) : local_touched(f) && !f->asks)))
                continue;
            any = s->ran = true;
            r = sync_folder_run(s, f);
            (void)work_summary(s);
            report_status(s->report);
        }
        (void)drain(s);
        if (!any)
            break;
    }
    return r;
}

static bool in_full_pass(const struct sync *s, const struct sync_folder *f) {
    return (f == s->selected && s->imap->changed) || s->watch.blind || folder_list_needs_pass(f);
}

static bool in_news(const struct sync *s, const struct sync_folder *f) {
    if (f->asks)
        return false;
    return local_touched(f) || (f == s->selected && s->imap->changed) ||
           (f->told && f->status.modseq != f->row.modseq && f->status.modseq > 0) ||
           (f->told && (f->status.uidnext != f->row.uidnext || f->status.messages != f->row.messages));
}

bool work_is_told(const struct sync *s) {
    for (size_t i = 0; i < s->folders->n; i++)
        if (in_news(s, s->folders->items[i]))
            return true;
    return s->folders->changed;
}

/* -- the whole ------------------------------------------------------------------------------------------ */

/* Which folder is what by now, on both sides, before anything is done with names. */
static int compare_names(struct sync *s, struct directories *ret) {
    int r = RENAMED_SOME;
    for (int round = 0; r == RENAMED_SOME && round < NAMES_MAX; round++) {
        directories_finish(ret);
        r = folder_list_update(s, s->folders);
        if (r == 0)
            r = directories_read(s, ret);
        if (r == 0)
            r = place_update(s, s->folders, ret);
        if (r == 0)
            r = renamed_update(s, s->folders);
    }
    return r == RENAMED_SOME ? err_set(ERR_PROTOCOL, "the mail server's folders change all the time") : r;
}

int work_begin(struct sync *s) {
    int r = store_check(&s->store);
    for (size_t i = 0; i < s->folders->n; i++) {
        struct sync_folder *f = s->folders->items[i];
        f->fetch_below = f->large_below = UINT32_MAX;
        f->upload_at = 0;
    }
    s->started = false;
    return r;
}

static int age_all(struct sync *s) {
    int r = 0;
    if (s->age_at && clock_boot_ms() < s->age_at)
        return 0;
    for (size_t i = 0; r == 0 && i < s->folders->n; i++)
        r = age_folder(s, s->folders->items[i]);
    s->age_at = clock_boot_ms() + AGE_MS;
    return r < 0 ? r : state_counts_all(s->state, &s->counts);
}

/* Names, then what is in the folders, then what is gone. 0, or TREE_AGAIN. */
static int look_at_all(struct sync *s) {
    struct folder_list *l = s->folders;
    cleanup(directories) struct directories t = {0};
    s->tree = false;
    int r = compare_names(s, &t);
    if (r == 0 && !s->started)
        r = upload_recover(s);
    if (r == 0)
        r = state_counts_all(s->state, &s->counts);
    if (r == 0)
        r = tree_update(s, l, &t);
    for (size_t i = 0; r == 0 && i < l->n; i++)
        r = local_foreign(s, l->items[i]);
    (void)work_summary(s);
    report_status(s->report);
    if (r == 0)
        r = rounds(s, in_full_pass);
    return r == 0 ? tree_delete(s, l) : r;
}

int work_full(struct sync *s) {
    struct folder_list *l = s->folders;
    int r = store_check(&s->store);
    if (r == 0 && s->selected) /* so that STATUS tells what there is, and not what the session has seen */
        r = imap_command(s->imap, "NOOP");
    if (r >= 0 && drain(s))
        r = settle(s);
    for (int i = 0; r >= 0 && i < TREE_ROUNDS && (i == 0 || r == TREE_AGAIN); i++)
        r = look_at_all(s);
    if (r >= 0)
        r = age_all(s);
    for (size_t i = 0; i < l->n; i++) /* what was not handed out is asked for again */
        l->items[i]->fetch_below = l->items[i]->large_below = UINT32_MAX;
    s->started = s->started || r == 0;
    return r;
}

int work_news(struct sync *s) {
    cleanup(directories) struct directories t = {0};
    s->ran = false;
    int r = work_hints(s) ? settle(s) : 0;
    bool tree = s->tree, names = tree || s->folders->changed;
    s->tree = false;
    if (r == 0)
        r = store_check(&s->store);
    if (r == 0 && names)
        r = compare_names(s, &t);
    if (r == 0 && names)
        r = tree_update(s, s->folders, &t);
    if (r == 0)
        r = rounds(s, in_news);
    if (r == 0 && tree)
        r = tree_delete(s, s->folders);
    s->tree = s->tree || r == TREE_AGAIN;
    (void)work_summary(s);
    return r < 0 ? r : 0;
}

int work_offline(struct sync *s) {
    int r = 0;
    (void)drain(s);
    for (size_t i = 0; r == 0 && i < s->folders->n; i++)
        if (local_touched(s->folders->items[i]))
            r = sync_folder_look(s, s->folders->items[i]);
    (void)drain(s);
    (void)work_summary(s);
    return r;
}

/* -- downloads ------------------------------------------------------------------------------------------ */

bool work_is_left(const struct sync *s) {
    for (size_t i = 0; s->counts.wanted > 0 && i < s->folders->n; i++)
        if (s->folders->items[i]->listed && !s->folders->items[i]->asks &&
            s->folders->items[i]->row.uidvalidity &&
            (s->folders->items[i]->fetch_below || s->folders->items[i]->large_below))
            return true;
    return false;
}

static bool is_in_use(const struct sync *s, const struct sync_folder *f, int64_t now) {
    return f != s->folders->items[0] && f->listed && f->used_at != 0 && now - f->used_at <= IN_USE_MS;
}

void work_watch(struct sync *s, const struct imap_endpoint *endpoint) {
    const char *mailboxes[LOOKOUTS_MAX];
    int64_t now = clock_boot_ms(), before = INT64_MAX;
    size_t n = 0;
    while (n < LOOKOUTS_MAX && !s->notify && s->imap->capabilities & IMAP_CAP_IDLE) {
        const struct sync_folder *latest = NULL;
        for (size_t i = 0; i < s->folders->n; i++) {
            const struct sync_folder *f = s->folders->items[i];
            if (is_in_use(s, f, now) && f->used_at < before && (!latest || f->used_at > latest->used_at))
                latest = f;
        }
        if (!latest)
            break;
        before = latest->used_at;
        mailboxes[n++] = latest->mailbox;
    }
    lookouts_keep(&s->lookouts, endpoint, mailboxes, n);
}

int work_glance(struct sync *s, int64_t *ret_next) {
    int64_t now = clock_boot_ms(), next = INT64_MAX;
    int r = 0;
    lookouts_clear(&s->lookouts);
    for (size_t i = 0, asked = 0; r >= 0 && !s->notify && i < s->folders->n && asked < IN_USE_MAX; i++) {
        const struct sync_folder *f = s->folders->items[i];
        bool news = false, watched = lookouts_take(&s->lookouts, f->mailbox, &news);
        if (f == s->selected || !is_in_use(s, f, now))
            continue;
        asked++;
        if (!watched)
            next = now + IN_USE_LOOK_MS;
        if (news || (!watched && now >= s->glance_at))
            r = imap_send(s->imap, "STATUS %s (MESSAGES UIDNEXT UIDVALIDITY%s)", f->quoted,
                          s->imap->enabled & IMAP_CAP_CONDSTORE ? " HIGHESTMODSEQ" : "");
    }
    if (r >= 0)
        r = imap_drain(s->imap);
    if (now >= s->glance_at)
        s->glance_at = now + IN_USE_LOOK_MS;
    *ret_next = next;
    return r < 0 ? r : 0;
}

/* The folder whose turn it is, and with what. INBOX comes first, and long messages last. */
static struct sync_folder *next_download(const struct sync *s, enum download_what *ret) {
    for (int large = 0; large < 2; large++)
        for (size_t i = 0; i < s->folders->n; i++) {
            struct sync_folder *f = s->folders->items[i];
            uint32_t below = large ? f->large_below : f->fetch_below;
            if (!f->listed || f->asks || !f->row.uidvalidity || below == 0)
                continue;
            *ret = large ? DOWNLOAD_LONG : below == UINT32_MAX ? DOWNLOAD_FEW : DOWNLOAD_MANY;
            return f;
        }
    return NULL;
}

/* Asks for INBOX, where the server does not tell by itself. */
static int glance(struct sync *s) {
    struct sync_folder *inbox = s->folders->items[0];
    if (s->notify || s->selected == inbox || clock_boot_ms() < s->glance_at)
        return 0;
    s->glance_at = clock_boot_ms() + LOOK_MS;
    int r = imap_command(s->imap, "STATUS %s (MESSAGES UIDNEXT)", inbox->quoted);
    return r < 0 ? r : 0;
}

int work_download(struct sync *s) {
    enum download_what what = DOWNLOAD_MANY;
    struct sync_folder *f = next_download(s, &what);
    if (!f)
        return 0;
    int r = download_step(s, f, what);
    if (r == 0)
        r = glance(s);
    (void)work_summary(s);
    report_status(s->report);
    return r;
}

void work_done(struct sync *s) {
    s->bytes = s->fetched = 0;
    s->rebuilt = false;
    for (size_t i = 0; i < s->folders->n; i++)
        s->folders->items[i]->first = false;
}

/* -- status --------------------------------------------------------------------------------------------- */

const char *work_summary(struct sync *s) {
    struct report *report = s->report;
    const struct folder_list *l = s->folders;
    const struct sync_folder *bad = NULL;
    report->pending = report->asks = 0;
    for (size_t i = 0; i < l->n; i++) {
        const struct sync_folder *f = l->items[i];
        report->pending += f->pending + upload_waiting(f);
        report->asks += f->asks;
        bool is_bad = *f->problem || f->refused.len;
        if (is_bad && (!bad || (f->asks && !bad->asks)))
            bad = f;
    }
    report->folders = (int64_t)l->n;
    report->messages = s->counts.have;
    if (bad)
        (void)snprintf(report->text, sizeof report->text, "%.150s: %s", bad->directory,
                       *bad->problem ? bad->problem : bad->refusal);
    else
        (void)snprintf(report->text, sizeof report->text, "%s", *l->trouble ? l->trouble : l->problem);
    return bad || *l->trouble ? report->text : NULL;
}
