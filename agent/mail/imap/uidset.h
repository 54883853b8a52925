/*
 * UID sets (RFC 3501 sequence-set) written from sorted numbers: "1:4,7,9:12".
 */
#ifndef SATCHEL_AGENT_MAIL_IMAP_UIDSET_H
#define SATCHEL_AGENT_MAIL_IMAP_UIDSET_H

#include "platform/base/buf.h"

#include <stddef.h>
#include <stdint.h>

/*
 * Appends the longest set of the first numbers that stays within `max` bytes and gives how many of them it
 * covers in *ret_used. `uids` rises strictly. ERR_SYSTEM without memory.
 */
int uidset_write(const uint32_t *uids, size_t n, size_t max, struct buf *ret, size_t *ret_used);

#endif
