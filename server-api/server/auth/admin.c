#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/encode.h"
#include "platform/base/err.h"
#include "platform/base/json.h"
#include "server-api/server/auth/auth.h"
#include "server-api/server/domain/token.h"

#include <stdio.h>
#include <string.h>

/* A token that satchelctl signed on the server's own machine: short-lived, for us, in the name of a user id.
 */
static int admin_local(struct organization *o, const char *text, char *ret_actor, size_t size) {
    cleanup(buf) struct buf plain = {.max = 8192};
    cleanup(cJSON) cJSON *jws = NULL, *payload = NULL;
    int r = decode_base64url(text, strlen(text), &plain);
    if (r == 0)
        r = json_parse(plain.len ? plain.data : "", plain.len, &jws);
    if (r == 0)
        r = organization_verify_admin(o, jws, &payload);
    if (r < 0)
        return r;
    const char *audience = json_str(payload, "aud"), *expires = json_str(payload, "exp"),
               *subject = json_str(payload, "sub");
    int64_t until = expires ? clock_parse_rfc3339(expires) : ERR_INVALID, now = clock_real_ms();
    if (!audience || strcmp(audience, AUTH_AUDIENCE) != 0 || until <= now || until > now + AUTH_LOCAL_MS)
        return err_set(ERR_AUTH, "the token is not for this server, or it has expired");
    if (!subject || strncmp(subject, "local:", 6) != 0 || !subject[6] || strlen(subject) > 32 ||
        subject[6 + strspn(subject + 6, "0123456789")])
        return err_set(ERR_AUTH, "the token names nobody");
    (void)snprintf(ret_actor, size, "%s", subject);
    return 0;
}

int auth_admin(struct auth *a, struct http_request *r) {
    const char *header = http_header(r, "Authorization");
    const char *token = header && strncasecmp(header, "Bearer ", 7) == 0 ? header + 7 : NULL;
    size_t prefix = strlen(AUTH_LOCAL_PREFIX);
    struct store_token found;
    int e = token ? 0 : err_set(ERR_AUTH, "a bearer token is needed here");
    if (token && strncmp(token, AUTH_LOCAL_PREFIX, prefix) == 0) {
        e = admin_local(a->organization, token + prefix, r->who.actor, sizeof r->who.actor);
    } else if (token) {
        e = token_find(a->store, token, &found);
        if (e == 0)
            (void)snprintf(r->who.actor, sizeof r->who.actor, "token:%s", found.name);
    }
    if (e == 0)
        return 0;
    if (e == ERR_SYSTEM)
        (void)http_fail(r, e);
    else
        (void)http_problem(r, 401, "unauthorized", "%s",
                           token ? "the token is not in force here" : "a bearer token is needed here");
    r->answer.challenge = "Bearer realm=\"satchel-admin\"";
    return e;
}
