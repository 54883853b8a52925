#include "agent/mail/imap/mutf7.h"
#include "agent/mail/imap/session.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"

/* Appends a quoted string (RFC 3501 section 9, RFC 6855 section 3). */
static int mailbox_quote(const char *text, size_t n, bool utf8, struct buf *ret) {
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < ' ' || c == 0x7f || (c > 0x7f && !utf8))
            return err_set(ERR_INVALID, "a mailbox name with characters that IMAP does not allow");
    }
    int r = buf_add(ret, "\"", 1);
    for (size_t i = 0; i < n && r == 0; i++) {
        if (text[i] == '"' || text[i] == '\\')
            r = buf_add(ret, "\\", 1);
        if (r == 0)
            r = buf_add(ret, &text[i], 1);
    }
    return r < 0 ? r : buf_add(ret, "\"", 1);
}

int imap_quote(const struct imap_session *s, const char *mailbox, size_t n, struct buf *ret) {
    cleanup(buf) struct buf text = {0};
    if (!(s->enabled & IMAP_CAP_UTF8))
        return mailbox_quote(mailbox, n, false, ret);
    int r = mutf7_decode(mailbox, n, &text);
    return r < 0 ? r : mailbox_quote(text.data ? text.data : "", text.len, true, ret);
}

int imap_mailbox(const struct imap_session *s, const char *name, size_t n, struct buf *ret) {
    cleanup(buf) struct buf text = {0};
    if (s->enabled & IMAP_CAP_UTF8)
        return mutf7_encode(name, n, ret);
    int r = mutf7_decode(name, n, &text);
    return r < 0 ? r : buf_add(ret, name, n);
}
