#include "agent/mail/imap/uidset.h"

#include <stdio.h>

int uidset_write(const uint32_t *uids, size_t n, size_t max, struct buf *ret, size_t *ret_used) {
    size_t used = 0, start = ret->len;
    while (used < n) {
        size_t end = used + 1;
        while (end < n && uids[end] == uids[end - 1] + 1)
            end++;
        char part[32];
        int len = end - used > 1
                      ? snprintf(part, sizeof part, "%s%u:%u", used ? "," : "", uids[used], uids[end - 1])
                      : snprintf(part, sizeof part, "%s%u", used ? "," : "", uids[used]);
        if (used > 0 && ret->len - start + (size_t)len > max)
            break;
        int r = buf_add(ret, part, (size_t)len);
        if (r < 0)
            return r;
        used = end;
    }
    *ret_used = used;
    return 0;
}
