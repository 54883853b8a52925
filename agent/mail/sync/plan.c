#include "agent/mail/sync/plan.h"
#include "platform/base/err.h"

#include <stdlib.h>

bool plan_is_suspicious(size_t removals, size_t base) {
    return base >= 20 && removals > base / 2;
}

void plan_finish(struct plan *p) {
    free(p->actions);
    *p = (struct plan){0};
}

/* A list under construction. */
struct builder {
    struct plan plan;
    size_t allocated;
    int (*want)(void *ctx, const struct plan_action *action);
    void *ctx;
};

static int plan_add(struct builder *b, const struct plan_action *action) {
    struct plan *p = &b->plan;
    if (action->kind == PLAN_WANT || action->kind == PLAN_LEAVE)
        return b->want(b->ctx, action);
    if (p->n == b->allocated) {
        size_t more = b->allocated ? b->allocated * 2 : 16;
        struct plan_action *grown = reallocarray(p->actions, more, sizeof *grown);
        if (!grown)
            return err_set(ERR_SYSTEM, "out of memory");
        p->actions = grown;
        b->allocated = more;
    }
    p->actions[p->n++] = *action;
    p->expunges += action->kind == PLAN_EXPUNGE;
    p->unlinks += action->kind == PLAN_UNLINK;
    p->changes += action->kind == PLAN_FLAGS && (action->add || action->remove);
    return 0;
}

/* Known, and there on both sides. true: something is to be done. */
static bool plan_flags(const struct plan_input *in, const struct plan_base *base,
                       const struct plan_local *local, const struct plan_remote *remote,
                       struct plan_action *action) {
    uint32_t mask = in->read_only ? 0 : in->permanent;
    uint32_t merged = flags_merge(base->flags, local->flags, remote->flags, mask);
    /* Where the server keeps no such flag, the reader's own stays in the file. */
    uint32_t kept = local->flags & (base->flags ^ local->flags) & ~mask;
    uint32_t dropped = base->flags & ~local->flags & ~mask;
    action->kind = PLAN_FLAGS;
    action->local_flags = (merged | kept) & ~dropped;
    action->add = merged & ~remote->flags;
    action->remove = remote->flags & ~merged;
    action->flags = (merged & mask) | (remote->flags & ~mask);
    if (kept || dropped) /* keep the base, so that the difference is still known as the reader's */
        action->flags = (action->flags & ~(kept | dropped)) | (base->flags & (kept | dropped));
    return action->local_flags != local->flags || action->add || action->remove ||
           action->flags != base->flags || local->flags != base->local;
}

static bool plan_want(const struct plan_input *in, const struct plan_remote *remote,
                      struct plan_action *action) {
    bool old = in->keep_since && remote->seconds && remote->seconds < in->keep_since;
    action->kind = old ? PLAN_LEAVE : PLAN_WANT;
    action->flags = remote->flags;
    action->seconds = remote->seconds;
    return true;
}

/* On the server, and known, but not in the copy. */
static bool plan_absent(const struct plan_input *in, const struct plan_base *base,
                        const struct plan_local *local, const struct plan_remote *remote,
                        struct plan_action *action) {
    if (!remote) {
        action->kind = local && local->edited ? PLAN_DETACH : local ? PLAN_UNLINK : PLAN_FORGET;
        return in->remote_complete;
    }
    if (local && base->kind == PLAN_GONE) /* a reader brought it back */
        return plan_flags(in, base, local, remote, action);
    if (local) {
        action->kind = local->edited ? PLAN_DETACH : PLAN_STRAY;
        return true;
    }
    if (base->kind == PLAN_GONE && remote->flags & IMAP_DELETED)
        return false;
    struct plan_remote known = *remote;
    known.seconds = remote->seconds ? remote->seconds : base->seconds;
    if (base->kind == PLAN_GONE) /* undeleted by somebody: it comes back */
        return plan_want(in, &known, action);
    action->kind = base->kind == PLAN_OLD ? PLAN_LEAVE : PLAN_WANT;
    action->flags = remote->flags;
    action->seconds = known.seconds;
    return remote->flags != base->flags || (base->seconds == 0 && known.seconds != 0);
}

/* In the copy, as far as is known. */
static bool plan_present(const struct plan_input *in, const struct plan_base *base,
                         const struct plan_local *local, const struct plan_remote *remote,
                         struct plan_action *action) {
    if (local && local->edited) {
        action->kind = PLAN_DETACH;
        return true;
    }
    if (local && remote)
        return plan_flags(in, base, local, remote, action);
    if (local) {
        action->kind = PLAN_UNLINK;
        return in->remote_complete;
    }
    if (!remote) {
        action->kind = PLAN_FORGET;
        return in->remote_complete && in->local_complete;
    }
    action->kind = PLAN_EXPUNGE;
    return in->local_complete && !in->read_only;
}

/* One UID with what each list knows of it (NULL: nothing). true: something is to be done. */
static bool plan_decide(const struct plan_input *in, const struct plan_base *base,
                        const struct plan_local *local, const struct plan_remote *remote,
                        struct plan_action *action) {
    if (base)
        return base->kind == PLAN_HAVE ? plan_present(in, base, local, remote, action)
                                       : plan_absent(in, base, local, remote, action);
    if (local) {
        action->kind = remote && !local->edited ? PLAN_STRAY : PLAN_DETACH;
        return remote || local->edited || in->remote_complete;
    }
    return plan_want(in, remote, action);
}

/* A message whose file goes, or goes its own way, while it is on the server. */
static int plan_again(struct builder *b, const struct plan_input *in, const struct plan_remote *remote,
                      const struct plan_action *action) {
    struct plan_action again = {.uid = action->uid, .local = UINT32_MAX};
    return plan_want(in, remote, &again) ? plan_add(b, &again) : 0;
}

int plan_make(const struct plan_input *in, int (*want)(void *ctx, const struct plan_action *action),
              void *ctx, struct plan *ret) {
    struct builder build = {.want = want, .ctx = ctx};
    size_t b = 0, l = 0, m = 0;
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
        int r = plan_add(&build, &action);
        /* Not known until now: it comes down as well. */
        if (r == 0 && !base && remote && local)
            r = plan_again(&build, in, remote, &action);
        if (r < 0) {
            plan_finish(&build.plan);
            return r;
        }
    }
    *ret = build.plan;
    return 0;
}
