#include "agent/mail/sync/age.h"
#include "agent/mail/sync/hook.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/base/log.h"

#define AGE_BATCH 256

uint32_t age_since(const struct sync *s) {
    int64_t since = clock_real_ms() / 1000 - (int64_t)s->keep_days * 86400;
    return s->keep_days && since > 0 && since < UINT32_MAX ? (uint32_t)since : 0;
}

/* Marks messages that are too old, as far as they are not edited: *ret_n of them, moved to the front. */
static int age_mark(struct sync *s, struct sync_folder *f, const struct maildir *m, struct plan_base *old,
                    size_t n, size_t *ret_n) {
    size_t kept = 0;
    int r = state_begin(s->state);
    for (size_t i = 0; r >= 0 && i < n; i++) {
        struct plan_local item = {.uid = old[i].uid, .flags = old[i].local, .seconds = old[i].seconds};
        struct state_message row = {0};
        bool edited = false;
        r = state_message_get(s->state, f->row.id, old[i].uid, &row);
        if (r == 0)
            r = maildir_is_edited(m, NULL, &item, row.size, row.crc, &edited);
        if (r > 0 || edited) { /* a reader did something that is not up yet */
            f->hints.scan = f->dirty = true;
            continue;
        }
        if (r == 0)
            r = state_message_kind(s->state, f->row.id, old[i].uid, PLAN_OLD);
        old[kept++] = old[i];
    }
    r = r < 0 ? r : state_commit(s->state);
    if (r < 0) {
        state_rollback(s->state);
        return r;
    }
    mail_hook_step();
    *ret_n = kept;
    return 0;
}

int age_folder(struct sync *s, struct sync_folder *f) {
    cleanup(maildir) struct maildir m = MAILDIR_INIT;
    struct plan_base old[AGE_BATCH];
    size_t n = 0, marked = 1, total = 0;
    uint32_t since = age_since(s);
    int r = state_want(s->state, f->row.id, since, false);
    if (r < 0 || !since || f->row.uidvalidity == 0) /* the caller counts */
        return r;
    r = sync_folder_open(s, f, &m);
    while (r == 0 && marked > 0) {
        marked = 0;
        r = state_aged(s->state, f->row.id, since, old, AGE_BATCH, &n);
        if (r == 0 && n > 0) /* the rows first, so that a missing file is not taken for a reader's removal */
            r = age_mark(s, f, &m, old, n, &marked);
        for (size_t i = 0; r == 0 && i < marked; i++) {
            int code = maildir_unlink(
                &m, NULL,
                &(struct plan_local){.uid = old[i].uid, .flags = old[i].local, .seconds = old[i].seconds});
            r = code < 0 ? code : 0;
        }
        total += marked;
    }
    if (total > 0)
        log_info("%zu messages are older than %d days and left the copy", total, s->keep_days);
    return r < 0 ? r : state_counts_all(s->state, &s->counts);
}
