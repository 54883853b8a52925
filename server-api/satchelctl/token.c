/* token create | list | revoke */
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/base/file.h"
#include "platform/base/json.h"
#include "server-api/satchelctl/ctl.h"
#include "server-api/satchelctl/output.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

/* With --output the token goes into that file alone. */
static int token_store(const char *path, cJSON *answer) {
    const char *token = json_str(answer, "token");
    cleanup(buf) struct buf text = {.secret = true};
    int r = token ? buf_printf(&text, "%s\n", token) : err_set(ERR_PROTOCOL, "the server made no token");
    if (r == 0)
        r = file_write_atomic(AT_FDCWD, path, text.data, text.len, 0600);
    if (r < 0)
        return r;
    cJSON *secret = cJSON_DetachItemFromObjectCaseSensitive(answer, "token");
    json_delete_secret(secret);
    return json_add_str(answer, "file", path);
}

int ctl_token_create(struct ctl *ctl, const struct ctl_args *args) {
    static const char *const shown[] = {"id", "name", "token", NULL};
    static const char *const stored[] = {"id", "name", "file", NULL};
    if (args->n != 1)
        return err_set(ERR_USAGE, "token create needs one NAME");
    cJSON *body = cJSON_CreateObject(), *answer = NULL;
    if (json_add_str(body, "name", args->words[0]) < 0) {
        cJSON_Delete(body);
        return ERR_SYSTEM;
    }
    int r = client_post(ctl->client, "/v1/admin/tokens", body, &answer);
    if (r == 0 && args->output)
        r = token_store(args->output, answer);
    if (r == 0)
        r = ctl->json ? output_json(answer) : output_fields(answer, args->output ? stored : shown);
    json_delete_secret(answer);
    return r;
}

int ctl_token_list(struct ctl *ctl, const struct ctl_args *args) {
    static const char *const columns[] = {"id", "name", "created_by", "created_at", "revoked_at", NULL};
    if (args->n != 0)
        return err_set(ERR_USAGE, "token list takes no arguments");
    cleanup(cJSON) cJSON *answer = NULL;
    int r = client_list(ctl->client, "/v1/admin/tokens", "tokens", &answer);
    if (r < 0)
        return r;
    return ctl->json ? output_json(answer) : output_table(json_array(answer, "tokens"), columns);
}

int ctl_token_revoke(struct ctl *ctl, const struct ctl_args *args) {
    if (args->n != 1)
        return err_set(ERR_USAGE, "token revoke needs one ID");
    cleanup(buf) struct buf path = {0};
    cleanup(cJSON) cJSON *answer = NULL;
    cleanup(free) char *id = client_escape(ctl->client, args->words[0]);
    int r = id ? buf_printf(&path, "/v1/admin/tokens/%s", id) : err_set(ERR_SYSTEM, "out of memory");
    if (r == 0)
        r = client_call(ctl->client, &(struct client_request){.method = "DELETE", .path = path.data},
                        &answer);
    if (r < 0)
        return r;
    if (!ctl->json) {
        (void)printf("revoked %s\n", args->words[0]);
        return 0;
    }
    answer = cJSON_CreateObject();
    r = json_add_str(answer, "revoked", args->words[0]);
    return r < 0 ? r : output_json(answer);
}
