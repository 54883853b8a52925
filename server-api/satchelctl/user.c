/* user add | import | list, enroll-code create */
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/base/file.h"
#include "platform/base/json.h"
#include "server-api/satchelctl/ctl.h"
#include "server-api/satchelctl/output.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define USER_CSV_MAX ((size_t)8 << 20)

int ctl_user_add(struct ctl *ctl, const struct ctl_args *args) {
    if (args->n != 1 || !args->address || !args->name)
        return err_set(ERR_USAGE, "user add needs LOGIN, --address and --name");
    cleanup(cJSON) cJSON *answer = NULL;
    cJSON *body = cJSON_CreateObject();
    if (json_add_str(body, "login", args->words[0]) < 0 || json_add_str(body, "address", args->address) < 0 ||
        json_add_str(body, "name", args->name) < 0) {
        cJSON_Delete(body);
        return ERR_SYSTEM;
    }
    int r = client_post(ctl->client, "/v1/admin/users", body, &answer);
    if (r < 0)
        return r;
    if (ctl->json)
        return output_json(answer);
    (void)printf("added %s\n", args->words[0]);
    return 0;
}

int ctl_user_import(struct ctl *ctl, const struct ctl_args *args) {
    if (args->n != 1)
        return err_set(ERR_USAGE, "user import needs one FILE.csv");
    cleanup(buf) struct buf csv = {0};
    cleanup(cJSON) cJSON *answer = NULL;
    int r = file_read(AT_FDCWD, args->words[0], USER_CSV_MAX, &csv);
    if (r < 0)
        return r;
    const struct client_request request = {.method = "POST",
                                           .path = "/v1/admin/users",
                                           .type = "text/csv",
                                           .body = csv.data ? csv.data : "",
                                           .size = csv.len};
    r = client_call(ctl->client, &request, &answer);
    if (r < 0)
        return r;
    if (ctl->json)
        return output_json(answer);
    (void)printf("added %lld users\n", (long long)json_int(answer, "added", 0));
    return 0;
}

int ctl_user_list(struct ctl *ctl, const struct ctl_args *args) {
    static const char *const columns[] = {"login", "address", "name", "created_at", NULL};
    if (args->n != 0)
        return err_set(ERR_USAGE, "user list takes no arguments");
    cleanup(cJSON) cJSON *answer = NULL;
    int r = client_list(ctl->client, "/v1/admin/users", "users", &answer);
    if (r < 0)
        return r;
    return ctl->json ? output_json(answer) : output_table(json_array(answer, "users"), columns);
}

/* Seconds of "90", "90s", "15m", "24h", "7d"; ERR_USAGE. */
static int user_duration(const char *text, int64_t *ret) {
    char *end;
    long long n = strtoll(text, &end, 10);
    int64_t unit = *end == 'm' ? 60 : *end == 'h' ? 3600 : *end == 'd' ? 86400 : 1;
    if (end == text || n <= 0 || n > 100000000 || (*end && (!strchr("smhd", *end) || end[1])))
        return err_set(ERR_USAGE, "--expires: \"%s\" is not like 24h, 15m or 7d", text);
    *ret = n * unit;
    return 0;
}

int ctl_enroll_code_create(struct ctl *ctl, const struct ctl_args *args) {
    static const char *const keys[] = {"link", "expires_at", NULL};
    if (args->n != 1)
        return err_set(ERR_USAGE, "enroll-code create needs one LOGIN");
    int64_t seconds = 86400;
    int r = args->expires ? user_duration(args->expires, &seconds) : 0;
    if (r < 0)
        return r;
    cleanup(cJSON) cJSON *answer = NULL;
    cJSON *body = cJSON_CreateObject();
    if (json_add_str(body, "login", args->words[0]) < 0 || json_add_int(body, "expires_in", seconds) < 0) {
        cJSON_Delete(body);
        return ERR_SYSTEM;
    }
    r = client_post(ctl->client, "/v1/admin/enrollment-codes", body, &answer);
    if (r < 0)
        return r;
    r = ctl->json ? output_json(answer) : output_fields(answer, keys);
    json_delete_secret(steal(answer));
    return r;
}
