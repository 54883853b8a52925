#include "agent/mail/confine.h"
#include "platform/base/err.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int confine_enter(const char *vault, uint16_t port, struct sandbox_state *ret) {
    /* What OpenSSL and libcurl are told to use in the place of the system's authorities. */
    const char *authorities[] = {getenv("SSL_CERT_FILE"), getenv("SSL_CERT_DIR"), NULL};
    if (!authorities[0]) {
        authorities[0] = authorities[1];
        authorities[1] = NULL;
    }
    /* Beside the vault lies what syncfs(2) has to be called for, see sync/store.h. */
    char beside[PATH_MAX] = "";
    const char *slash = vault ? strrchr(vault, '/') : NULL;
    if (slash && slash != vault &&
        (size_t)snprintf(beside, sizeof beside, "%.*s", (int)(slash - vault), vault) >= sizeof beside)
        return err_set(ERR_INVALID, "the path of the vault is too long");
    const struct sandbox s = {
        .read = authorities, .list = *beside ? beside : NULL, .write = vault, .ports = {port}};
    return sandbox_enter(&s, ret);
}
