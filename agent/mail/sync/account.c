#include "agent/mail/sync/account.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/base/json.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define CA_MAX 262144
#define LOGIN_MAX 1000
#define PASSWORD_MAX 4000

static void free_const(const char *text) {
    free((void *)(uintptr_t)text);
}

void account_destroy(struct account *a) {
    if (!a)
        return;
    if (a->endpoint.password) {
        size_t n = strlen(a->endpoint.password);
        explicit_bzero((void *)(uintptr_t)a->endpoint.password, n);
        (void)munlock(a->endpoint.password, n + 1);
    }
    free_const(a->endpoint.password);
    free_const(a->endpoint.host);
    free_const(a->endpoint.login);
    free_const(a->endpoint.ca);
    free(a);
}

static void account_cleanup(struct account **a) {
    account_destroy(*a);
}

/* Control characters would end the line of a command early. */
static bool is_printable(const char *text) {
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            return false;
    return true;
}

static int account_text(const cJSON *json, const char *key, size_t max, const char **ret) {
    const char *text = NULL;
    int r = json_need_str(json, key, max, &text);
    if (r < 0)
        return r;
    if (!is_printable(text))
        return err_set(ERR_INVALID, "\"%s\" holds a control character", key);
    *ret = strdup(text);
    return *ret ? 0 : err_set(ERR_SYSTEM, "out of memory");
}

static int account_compress(const cJSON *json, enum imap_compress *ret) {
    static const char *const words[] = {
        [IMAP_COMPRESS_AUTO] = "auto", [IMAP_COMPRESS_ALWAYS] = "always", [IMAP_COMPRESS_NEVER] = "never"};
    const char *word = json_str(json, "compress");
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!word || strcmp(word, words[i]) == 0) {
            *ret = (enum imap_compress)i;
            return 0;
        }
    return err_set(ERR_INVALID, "\"compress\" must be \"auto\", \"always\" or \"never\"");
}

int account_parse(const cJSON *json, struct account **ret) {
    cleanup(account) struct account *a = calloc(1, sizeof *a);
    const char *security = NULL, *ca = json_str(json, "ca");
    int64_t port = 0;
    if (!a)
        return err_set(ERR_SYSTEM, "out of memory");
    int r = account_text(json, "host", 255, &a->endpoint.host);
    if (r == 0)
        r = account_text(json, "login", LOGIN_MAX, &a->endpoint.login);
    if (r == 0)
        r = account_text(json, "password", PASSWORD_MAX, &a->endpoint.password);
    if (r == 0)
        r = json_need_int(json, "port", 1, 65535, &port);
    if (r == 0)
        r = json_need_str(json, "security", 16, &security);
    if (r == 0)
        r = account_compress(json, &a->compress);
    if (r < 0 || !security || !a->endpoint.password)
        return r;
    if (strcmp(security, "tls") != 0 && strcmp(security, "starttls") != 0)
        return err_set(ERR_INVALID, "\"security\" must be \"tls\" or \"starttls\"");
    if (ca && strlen(ca) > CA_MAX)
        return err_set(ERR_INVALID, "\"ca\" is too long");
    a->endpoint.starttls = strcmp(security, "starttls") == 0;
    a->endpoint.port = (uint16_t)port;
    a->endpoint.ca = ca && *ca ? strdup(ca) : NULL;
    if (ca && *ca && !a->endpoint.ca)
        return err_set(ERR_SYSTEM, "out of memory");
    (void)mlock(a->endpoint.password, strlen(a->endpoint.password) + 1); /* best effort: the limit may be 0 */
    *ret = steal(a);
    return 0;
}
