/*
 * What a folder needs: three sorted lists - base (what both sides last agreed on, from the state database),
 * local (the Maildir) and remote (the server) - become a list of actions. Pure: no input or output, no clock.
 * The rules:
 *
 * - A flag that one side changed since the base wins; both sides cannot disagree about one flag that both
 * changed.
 * - A message that left the server leaves the Maildir; one whose file a reader removed is expunged on the
 * server.
 * - A message is never taken for removed when the list it is missing from may be incomplete.
 * - A file that looks like ours and is in no base is the rest of a download that was not committed: it goes.
 */
#ifndef SATCHEL_AGENT_MAIL_SYNC_PLAN_H
#define SATCHEL_AGENT_MAIL_SYNC_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct plan_base {
    uint32_t uid;
    uint8_t flags; /* imap_flag bits */
    bool gone;     /* removed locally, and \Deleted set on the server because it cannot expunge one message */
};

struct plan_local {
    uint32_t uid;
    uint8_t flags;
    uint8_t place; /* the Maildir's own */
    uint32_t name; /* the Maildir's own */
};

struct plan_remote {
    uint32_t uid;
    uint8_t flags;
};

enum plan_kind {
    PLAN_FLAGS, /* bring the flags together: `local_flags` for the file, `add` and `remove` for the server */
    PLAN_DOWNLOAD, /* on the server only */
    PLAN_EXPUNGE,  /* removed locally: remove on the server */
    PLAN_UNLINK,   /* removed on the server: remove the file, then forget */
    PLAN_FORGET,   /* gone on both sides, or only the memory of it is left */
    PLAN_STRAY,    /* a file of a download that was not committed: remove it */
};

struct plan_action {
    uint32_t uid;
    enum plan_kind kind;
    uint8_t local_flags;
    uint8_t add, remove;
    uint8_t base_flags; /* PLAN_FLAGS: the agreement afterwards */
    uint32_t local;     /* index into the local list, UINT32_MAX: none */
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
    uint8_t permanent;    /* the flags that the server keeps */
};

struct plan {
    struct plan_action *actions; /* owned, by UID */
    size_t n;
    size_t expunges;  /* how many are PLAN_EXPUNGE */
    size_t downloads; /* how many are PLAN_DOWNLOAD */
    size_t changes;   /* PLAN_FLAGS that change the server */
};

/* The lists rise strictly by UID. ERR_SYSTEM without memory. */
int plan_make(const struct plan_input *in, struct plan *ret);
void plan_finish(struct plan *p);
#define plan_cleanup plan_finish

/* The three-way merge of flags, limited to `mask`; bits outside it are the remote's. */
uint8_t plan_merge_flags(uint8_t base, uint8_t local, uint8_t remote, uint8_t mask);

/* Whether so many removals in a folder of `base` messages look like an accident: more than half of 20 or
 * more. */
bool plan_is_suspicious(size_t removals, size_t base);

#endif
