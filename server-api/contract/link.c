#include "server-api/contract/link.h"
#include "platform/base/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINK_SCHEME "https://"
#define LINK_PATH "/enroll/"
#define LINK_BASE64URL "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
#define LINK_HOST "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-."

/* Length of HOST in HOST[:PORT] or [IPv6][:PORT]; 0 when it is malformed. */
static size_t link_host_length(const char *authority) {
    if (*authority != '[')
        return strspn(authority, LINK_HOST);
    size_t n = strspn(authority + 1, "0123456789abcdefABCDEF:.");
    return n && authority[n + 1] == ']' ? n + 2 : 0;
}

int link_check_base(const char *base) {
    size_t scheme = strlen(LINK_SCHEME);
    if (strncmp(base, LINK_SCHEME, scheme) != 0)
        return err_set(ERR_REFUSED, "the address must begin with https://");
    size_t n = link_host_length(base + scheme);
    const char *rest = base + scheme + n;
    if (n == 0 || n > 255)
        return err_set(ERR_REFUSED, "the host name in the address is malformed");
    if (!*rest)
        return 0;
    size_t digits = *rest == ':' ? strspn(rest + 1, "0123456789") : 0;
    long port = digits && digits <= 5 ? strtol(rest + 1, NULL, 10) : 0;
    if (rest[digits + 1] || port < 1 || port > 65535)
        return err_set(ERR_REFUSED, "the port in the address is malformed");
    return 0;
}

int link_parse(const char *text, struct link *ret) {
    struct link l = {0};
    if (strlen(text) > LINK_MAX)
        return err_set(ERR_REFUSED,
                       "the enrollment link is too long to be one; copy it again from the message");
    const char *path = strstr(text, LINK_PATH);
    if (!path || (size_t)(path - text) >= sizeof l.base)
        return err_set(ERR_REFUSED, "the enrollment link is malformed: it must look like "
                                    "https://HOST:PORT/enroll/CODE#FINGERPRINT");
    memcpy(l.base, text, (size_t)(path - text));
    int r = link_check_base(l.base);
    if (r < 0)
        return err_context(r, "the enrollment link is malformed");
    const char *code = path + strlen(LINK_PATH);
    size_t n = strspn(code, LINK_BASE64URL);
    if (n != sizeof l.code - 1 || (code[n] && code[n] != '#'))
        return err_set(ERR_REFUSED, "the enrollment link is malformed: its code is not one of ours; "
                                    "copy the whole link again");
    memcpy(l.code, code, n);
    const char *fingerprint = code[n] == '#' ? code + n + 1 : "";
    if (!*fingerprint)
        return err_set(ERR_REFUSED, "the enrollment link has no fingerprint (the part behind #); "
                                    "put it in quotes and copy the whole link");
    n = strspn(fingerprint, LINK_BASE64URL);
    if (n != sizeof l.fingerprint - 1 || fingerprint[n])
        return err_set(ERR_REFUSED, "the enrollment link is malformed: its fingerprint is cut or altered");
    memcpy(l.fingerprint, fingerprint, n);
    *ret = l;
    return 0;
}
