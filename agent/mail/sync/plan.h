/*
 * What a folder needs: three lists - base (what both sides last agreed on, from the state database), local
 * (the Maildir) and remote (the server) - become actions. Pure: no input or output, no clock. The rules:
 *
 * - Flags are merged by three-way comparison, each flag for itself: what one side changed since the base
 * wins.
 * - A message that left the server leaves the Maildir, unless its text was edited there: then it becomes a
 * new message. One whose file a reader removed is removed on the server, also when its flags changed there.
 * - A file whose text was edited becomes a message of its own, and the old one is removed on the server.
 * - A message is never taken for removed when the list it is missing from may be incomplete.
 * - A file with the name of a message that is not in the copy is the rest of a download that was not
 * committed, or, where the server does not know the message, a reader's own: it becomes a new message.
 */
#ifndef SATCHEL_AGENT_MAIL_SYNC_PLAN_H
#define SATCHEL_AGENT_MAIL_SYNC_PLAN_H

#include "agent/mail/sync/flags.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum plan_message {
    PLAN_HAVE,   /* in the copy */
    PLAN_GONE,   /* removed here, and \Deleted set on the server because it cannot expunge one message */
    PLAN_OLD,    /* on the server alone: older than keep_days */
    PLAN_WANTED, /* still to be downloaded */
};

struct plan_base {
    uint32_t uid;
    uint32_t flags; /* what both sides agreed on */
    uint32_t local; /* the flags of the file, as we left it */
    uint32_t seconds;
    enum plan_message kind;
};

struct plan_local {
    uint32_t uid;
    uint32_t flags;
    uint32_t seconds;
    uint32_t odd; /* the Maildir's own: where the name lies that is not what we would write, +1; 0: nowhere */
    uint8_t place; /* the Maildir's own */
    bool edited;   /* its text is not what we wrote */
};

struct plan_remote {
    uint32_t uid;
    uint32_t flags;
    uint32_t seconds; /* INTERNALDATE, 0: not asked */
};

enum plan_kind {
    PLAN_FLAGS, /* bring the flags together: `local_flags` for the file, `add` and `remove` for the server */
    PLAN_WANT,  /* new on the server: to be downloaded */
    PLAN_LEAVE, /* new on the server, but older than keep_days */
    PLAN_EXPUNGE, /* removed locally: remove on the server */
    PLAN_DETACH,  /* edited locally: give the file a name of its own; what is left of the old message follows
                     in  the next pass */
    PLAN_UNLINK,  /* removed on the server: remove the file, then forget */
    PLAN_FORGET,  /* gone on both sides, or only the memory of it is left */
    PLAN_STRAY,   /* the rest of a download: remove the file */
};

struct plan_action {
    uint32_t uid;
    enum plan_kind kind;
    uint32_t local_flags;
    uint32_t add, remove;
    uint32_t flags;   /* the agreement afterwards */
    uint32_t seconds; /* PLAN_WANT, PLAN_LEAVE: of the message, 0: not known */
    uint32_t local;   /* index into the local list, UINT32_MAX: none */
};

struct plan_input {
    const struct plan_base *base;
    size_t n_base;
    const struct plan_local *local;
    size_t n_local;
    const struct plan_remote *remote;
    size_t n_remote;
    bool remote_complete; /* the server's list is whole: what is missing in it was removed there */
    bool local_complete;  /* the same for the Maildir */
    bool read_only;       /* nothing may be changed on the server */
    uint32_t permanent;   /* the flags that the server keeps */
    uint32_t keep_since;  /* messages before these seconds are not kept; 0: all are */
};

struct plan {
    struct plan_action *actions; /* owned, by UID */
    size_t n;
    size_t expunges; /* removed locally */
    size_t unlinks;  /* removed on the server */
    size_t changes;  /* flags to change on the server */
};

/*
 * The lists rise strictly by UID. PLAN_WANT and PLAN_LEAVE, of which there may be many, go to `want` at once;
 * a negative return of it is passed on. ERR_SYSTEM without memory.
 */
int plan_make(const struct plan_input *in, int (*want)(void *ctx, const struct plan_action *action),
              void *ctx, struct plan *ret);
void plan_finish(struct plan *p);
#define plan_cleanup plan_finish

/* Whether so many removals in a folder of `base` messages look like an accident: more than half of 20 or
 * more.
 */
bool plan_is_suspicious(size_t removals, size_t base);

#endif
