/*
 * The flags of a message in one word: the system flags (imap_flag), 26 keyword slots (the Maildir letters a
 * to z) and $Forwarded (the letter P). Pure.
 */
#ifndef SATCHEL_AGENT_MAIL_SYNC_FLAGS_H
#define SATCHEL_AGENT_MAIL_SYNC_FLAGS_H

#include "agent/mail/imap/session.h"

#include <stdint.h>

#define FLAGS_SLOTS 26
#define FLAGS_SLOT(slot) ((uint32_t)1 << (5 + (slot)))
#define FLAGS_KEYWORDS ((uint32_t)0x7fffffe0)
#define FLAGS_FORWARDED ((uint32_t)1 << 31)
#define FLAGS_SYSTEM ((uint32_t)IMAP_FLAGS_ALL)

/* The three-way merge, limited to `mask`: what one side changed since `base` wins; bits outside the mask are
 * the remote's. */
static inline uint32_t flags_merge(uint32_t base, uint32_t local, uint32_t remote, uint32_t mask) {
    uint32_t changed = (base ^ local) & mask;
    return (local & changed) | (remote & ~changed);
}

#endif
