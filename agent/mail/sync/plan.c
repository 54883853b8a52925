#include "agent/mail/sync/plan.h"
#include "agent/mail/imap/session.h"
#include "platform/base/err.h"

#include <stdlib.h>

uint8_t plan_merge_flags(uint8_t base, uint8_t local, uint8_t remote, uint8_t mask) {
    uint8_t changed = (uint8_t)((base ^ local) & mask);
    return (uint8_t)((local & changed) | (remote & ~changed));
}

bool plan_is_suspicious(size_t removals, size_t base) {
    return base >= 20 && removals > base / 2;
}

void plan_finish(struct plan *p) {
    free(p->actions);
    *p = (struct plan){0};
}

static int plan_add(struct plan *p, size_t *allocated, struct plan_action action) {
    if (p->n == *allocated) {
        size_t more = *allocated ? *allocated * 2 : 256;
        struct plan_action *grown = reallocarray(p->actions, more, sizeof *grown);
        if (!grown)
            return err_set(ERR_SYSTEM, "out of memory");
        p->actions = grown;
        *allocated = more;
    }
    p->actions[p->n++] = action;
    p->expunges += action.kind == PLAN_EXPUNGE;
    p->downloads += action.kind == PLAN_DOWNLOAD;
    p->changes += action.kind == PLAN_FLAGS && (action.add || action.remove);
    return 0;
}

/* Known, and there on both sides. true: something is to be done. */
static bool plan_flags(const struct plan_input *in, const struct plan_base *base,
                       const struct plan_local *local, const struct plan_remote *remote,
                       struct plan_action *action) {
    uint8_t mask = in->read_only ? 0 : in->permanent;
    uint8_t merged = plan_merge_flags(base->flags, local->flags, remote->flags, mask);
    /* Where the server keeps no such flag, the reader's own stays in the file. */
    uint8_t kept = (uint8_t)(local->flags & (base->flags ^ local->flags) & ~mask);
    uint8_t dropped = (uint8_t)(base->flags & ~local->flags & ~mask);
    action->kind = PLAN_FLAGS;
    action->local_flags = (uint8_t)((merged | kept) & ~dropped);
    action->add = (uint8_t)(merged & ~remote->flags);
    action->remove = (uint8_t)(remote->flags & ~merged);
    action->base_flags = (uint8_t)((merged & mask) | (remote->flags & ~mask));
    if (kept || dropped) /* keep the base, so that the difference is still known as the reader's */
        action->base_flags =
            (uint8_t)((action->base_flags & ~(kept | dropped)) | (base->flags & (kept | dropped)));
    return action->local_flags != local->flags || action->add || action->remove ||
           action->base_flags != base->flags;
}

/* One UID with what each list knows of it (NULL: nothing). true: something is to be done. */
static bool plan_decide(const struct plan_input *in, const struct plan_base *base,
                        const struct plan_local *local, const struct plan_remote *remote,
                        struct plan_action *action) {
    if (!base) {
        if (local)
            action->kind = PLAN_STRAY;
        else
            action->kind = PLAN_DOWNLOAD;
        return true;
    }
    if (!remote) {
        action->kind = local ? PLAN_UNLINK : PLAN_FORGET;
        return in->remote_complete && (local || in->local_complete || base->gone);
    }
    if (local)
        return plan_flags(in, base, local, remote, action);
    if (base->gone) {
        action->kind = PLAN_FORGET; /* somebody took \Deleted off: it comes back with the next pass */
        return !(remote->flags & IMAP_DELETED);
    }
    action->kind = PLAN_EXPUNGE;
    return in->local_complete && !in->read_only;
}

int plan_make(const struct plan_input *in, struct plan *ret) {
    struct plan p = {0};
    size_t allocated = 0, b = 0, l = 0, m = 0;
    while (b < in->n_base || l < in->n_local || m < in->n_remote) {
        uint32_t uid = UINT32_MAX;
        if (b < in->n_base)
            uid = in->base[b].uid;
        if (l < in->n_local && in->local[l].uid < uid)
            uid = in->local[l].uid;
        if (m < in->n_remote && in->remote[m].uid < uid)
            uid = in->remote[m].uid;
        const struct plan_base *base = b < in->n_base && in->base[b].uid == uid ? &in->base[b++] : NULL;
        uint32_t index = (uint32_t)l;
        const struct plan_local *local = l < in->n_local && in->local[l].uid == uid ? &in->local[l++] : NULL;
        const struct plan_remote *remote =
            m < in->n_remote && in->remote[m].uid == uid ? &in->remote[m++] : NULL;
        struct plan_action action = {.uid = uid, .local = local ? index : UINT32_MAX};
        if (!plan_decide(in, base, local, remote, &action))
            continue;
        int r = plan_add(&p, &allocated, action);
        if (r == 0 && !base && local && remote) /* a stray file goes, and the message comes again */
            r = plan_add(&p, &allocated,
                         (struct plan_action){.uid = uid, .kind = PLAN_DOWNLOAD, .local = UINT32_MAX});
        if (r < 0) {
            plan_finish(&p);
            return r;
        }
    }
    *ret = p;
    return 0;
}
