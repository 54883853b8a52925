#include "platform/base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char err_message[1024];

int err_set(int code, const char *fmt, ...) {
    char text[sizeof err_message];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    memcpy(err_message, text, sizeof text);
    return code;
}

int err_errno(const char *fmt, ...) {
    int saved = errno;
    char text[768];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return err_set(ERR_SYSTEM, "%s: %s", text, strerror(saved));
}

int err_context(int code, const char *fmt, ...) {
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    char before[sizeof err_message];
    memcpy(before, err_message, sizeof before);
    before[sizeof before - sizeof text - 3] = '\0';
    return err_set(code, "%s: %s", text, before);
}

const char *err_text(void) {
    return err_message[0] ? err_message : "no error";
}

const char *err_name(int code) {
    static const char *const names[] = {
        "ok",      "system",   "invalid",  "unreachable", "refused",   "auth-failed", "tls-failed", "keyring",
        "timeout", "canceled", "protocol", "too-large",   "not-found", "state",       "signature",  "usage",
    };
    int i = -code;
    return i >= 0 && (size_t)i < sizeof names / sizeof *names ? names[i] : "unknown";
}

int err_exit(int code) {
    switch (code) {
    case ERR_UNREACHABLE:
    case ERR_TIMEOUT:
        return 3;
    case ERR_REFUSED:
    case ERR_AUTH:
    case ERR_TLS:
    case ERR_SIGNATURE:
        return 4;
    case ERR_USAGE:
        return 2;
    default:
        return code < 0 ? 1 : 0;
    }
}
