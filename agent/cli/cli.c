#include "agent/cli/cli.h"
#include "agent/cli/start.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/linux/local_socket.h"
#include "platform/linux/paths.h"

#include <stdio.h>
#include <string.h>

int cli_connect(bool start, struct cli_agent *ret) {
    struct paths paths;
    int r = paths_find(&paths);
    if (r < 0)
        return r;
    int fd = -1;
    r = local_socket_connect(paths.control, &fd);
    if (r == ERR_UNREACHABLE && start)
        r = start_agent(&paths, &fd);
    if (r < 0)
        return r == ERR_UNREACHABLE ? err_set(r, "satcheld is not running (%s)", err_text()) : r;
    ret->fd = fd;
    frame_init(&ret->frame, fd);
    return 0;
}

void cli_disconnect(struct cli_agent *a) {
    frame_finish(&a->frame);
    if (a->fd >= 0)
        (void)close(a->fd);
    a->fd = -1;
}

static int cli_error(const cJSON *error) {
    const char *message = json_str(error, "message");
    int64_t code = json_int(error, "code", ERR_PROTOCOL);
    return err_set(code < 0 && code > -100 ? (int)code : ERR_PROTOCOL, "%s",
                   message ? message : "unknown error");
}

int cli_call(struct cli_agent *a, const char *method, cJSON *params, void (*progress)(const cJSON *params),
             cJSON **ret_result) {
    cJSON *request = cJSON_CreateObject();
    int r = json_add_item(request, "params", params ? params : cJSON_CreateObject());
    r |= json_add_str(request, "jsonrpc", "2.0") | json_add_int(request, "id", 1) |
         json_add_str(request, "method", method);
    r = r < 0 ? ERR_SYSTEM : frame_send(a->fd, request, clock_boot_ms() + 10000);
    json_delete_secret(request);
    while (r == 0) {
        cleanup(cJSON) cJSON *answer = NULL;
        r = frame_recv(&a->frame, -1, INT64_MAX, &answer);
        if (r < 0)
            return err_context(r == ERR_INVALID ? ERR_PROTOCOL : r, "satcheld");
        if (json_str(answer, "method")) {
            if (progress)
                progress(json_object(answer, "params"));
            continue;
        }
        if (json_object(answer, "error"))
            return cli_error(json_object(answer, "error"));
        *ret_result = cJSON_DetachItemFromObjectCaseSensitive(answer, "result");
        return *ret_result ? 0 : err_set(ERR_PROTOCOL, "satcheld gave an answer that makes no sense");
    }
    return r;
}

int cli_fail(int code, bool json) {
    int status = err_exit(code);
    if (json) {
        cleanup(cJSON) cJSON *document = cJSON_CreateObject();
        cJSON *error = cJSON_CreateObject();
        (void)(json_add_str(error, "name", err_name(code)) | json_add_str(error, "message", err_text()) |
               json_add_int(error, "exit", status) | json_add_item(document, "error", error));
        (void)cli_print(document);
    }
    (void)fprintf(stderr, "satchel: %s\n", cli_safe(err_text()));
    return status;
}

int cli_print(const cJSON *json) {
    cleanup(free) char *text = cJSON_Print(json);
    if (!text || puts(text) < 0 || fflush(stdout) != 0)
        return err_errno("cannot print");
    return 0;
}

int cli_arguments(int argc, char **argv, int least, int most) {
    if (argc - 1 < least)
        return err_set(ERR_USAGE, "%s: an argument is missing; see `satchel %s --help`", argv[0], argv[0]);
    if (argc - 1 > most)
        return err_set(ERR_USAGE, "%s: \"%s\" makes no sense here; see `satchel %s --help`", argv[0],
                       argv[most + 1], argv[0]);
    return 0;
}

const char *cli_safe(const char *text) {
    static char ring[8][1200];
    static unsigned next;
    char *out = ring[next++ % 8];
    (void)snprintf(out, sizeof ring[0], "%s", text ? text : "");
    for (char *p = out; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = '?';
    return out;
}
