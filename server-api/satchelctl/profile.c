/* profile publish | list | show */
#include "server-api/contract/profile.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/base/file.h"
#include "platform/base/json.h"
#include "server-api/satchelctl/ctl.h"
#include "server-api/satchelctl/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static int profile_read_stdin(struct buf *ret) {
    char chunk[16384];
    for (;;) {
        ssize_t n = read(STDIN_FILENO, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno("cannot read standard input");
        if (n == 0)
            return 0;
        if (ret->len + (size_t)n > PROFILE_MAX)
            return err_set(ERR_TOO_LARGE, "the profile has more than %zu bytes", PROFILE_MAX);
        int r = buf_add(ret, chunk, (size_t)n);
        if (r < 0)
            return r;
    }
}

int ctl_profile_publish(struct ctl *ctl, const struct ctl_args *args) {
    if (args->n != 1)
        return err_set(ERR_USAGE, "profile publish needs one FILE (- for standard input)");
    cleanup(buf) struct buf text = {0};
    cleanup(cJSON) cJSON *answer = NULL;
    bool standard = strcmp(args->words[0], "-") == 0;
    int r = standard ? profile_read_stdin(&text) : file_read(AT_FDCWD, args->words[0], PROFILE_MAX, &text);
    if (r < 0)
        return r;
    const struct client_request request = {
        .method = "POST", .path = "/v1/admin/profiles", .body = text.data ? text.data : "", .size = text.len};
    r = client_call(ctl->client, &request, &answer);
    if (r < 0)
        return r;
    if (ctl->json)
        return output_json(answer);
    (void)printf("published %s version %lld\n", json_str(answer, "id") ? json_str(answer, "id") : "?",
                 (long long)json_int(answer, "version", 0));
    return 0;
}

int ctl_profile_list(struct ctl *ctl, const struct ctl_args *args) {
    static const char *const columns[] = {"version", "id", "published_at", "published_by", NULL};
    if (args->n != 0)
        return err_set(ERR_USAGE, "profile list takes no arguments");
    cleanup(cJSON) cJSON *answer = NULL;
    int r = client_list(ctl->client, "/v1/admin/profiles", "profiles", &answer);
    if (r < 0)
        return r;
    return ctl->json ? output_json(answer) : output_table(json_array(answer, "profiles"), columns);
}

int ctl_profile_show(struct ctl *ctl, const struct ctl_args *args) {
    if (args->n > 1)
        return err_set(ERR_USAGE, "profile show takes one VERSION, or none for the newest");
    cleanup(cJSON) cJSON *answer = NULL;
    cleanup(buf) struct buf path = {0};
    cleanup(free) char *version = client_escape(ctl->client, args->n ? args->words[0] : "latest");
    int r =
        version ? buf_printf(&path, "/v1/admin/profiles/%s", version) : err_set(ERR_SYSTEM, "out of memory");
    if (r == 0)
        r = client_get(ctl->client, path.data, &answer);
    if (r < 0)
        return r;
    return output_json(ctl->json ? answer : json_object(answer, "profile"));
}
