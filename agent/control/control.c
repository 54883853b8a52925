#include "agent/control/control.h"
#include "agent/control/method.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/base/frame.h"
#include "platform/base/json.h"
#include "platform/base/log.h"
#include "platform/linux/local_socket.h"

#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#define CONTROL_SEND_MS 10000
#define CONTROL_IDLE_MS 600000 /* without a request, a person thinking about a password included */

struct control_connection {
    struct control *control;
    int fd;
};

static int control_answer(int fd, const cJSON *id, cJSON *result, int code) {
    cleanup(cJSON) cJSON *answer = cJSON_CreateObject();
    int r = json_add_str(answer, "jsonrpc", "2.0");
    if (code == 0) {
        r = json_add_item(answer, "result", result) | r;
    } else {
        cJSON *error = cJSON_CreateObject(), *data = cJSON_CreateObject();
        r |= json_add_int(error, "code", code) | json_add_str(error, "message", err_text()) |
             json_add_str(data, "name", err_name(code)) | json_add_int(data, "exit", err_exit(code)) |
             json_add_item(error, "data", data) | json_add_item(answer, "error", error);
    }
    r |= json_add_item(answer, "id", id ? cJSON_Duplicate(id, true) : cJSON_CreateNull());
    return r < 0 ? ERR_SYSTEM : frame_send(fd, answer, clock_boot_ms() + CONTROL_SEND_MS);
}

static void control_serve(struct control *c, int fd) {
    cleanup(frame) struct frame f;
    frame_init(&f, fd);
    for (;;) {
        cJSON *request = NULL, *result = NULL;
        int r = frame_recv(&f, c->stop, clock_boot_ms() + CONTROL_IDLE_MS, &request);
        if (r < 0 && r != ERR_INVALID)
            return;
        const char *name = json_str(request, "method");
        if (r == 0)
            r = name ? method_call(c, fd, name, json_object(request, "params"), &result)
                     : err_set(ERR_INVALID, "not a JSON-RPC request");
        r = control_answer(fd, cJSON_GetObjectItemCaseSensitive(request, "id"), result, r);
        json_delete_secret(request);
        if (r < 0)
            return;
    }
}

static void *control_connection_run(void *userdata) {
    struct control_connection *connection = userdata;
    struct control *c = connection->control;
    if (local_socket_check_peer(connection->fd) == 0)
        control_serve(c, connection->fd);
    else
        log_warning("control socket: %s", err_text());
    (void)close(connection->fd);
    free(connection);
    (void)sem_post(&c->room);
    return NULL;
}

/* Waits for room first: who comes when all threads are busy stays in the backlog, and is served then. */
static void control_accept(struct control *c) {
    (void)sem_wait(&c->room);
    int fd = accept4(c->listener, NULL, NULL, SOCK_CLOEXEC);
    struct control_connection *connection = fd >= 0 ? malloc(sizeof *connection) : NULL;
    pthread_t thread;
    if (connection) {
        *connection = (struct control_connection){.control = c, .fd = fd};
        if (pthread_create(&thread, NULL, control_connection_run, connection) == 0) {
            (void)pthread_detach(thread);
            return;
        }
    }
    (void)sem_post(&c->room);
    free(connection);
    if (fd >= 0)
        (void)close(fd);
}

static void *control_run(void *userdata) {
    struct control *c = userdata;
    for (;;) {
        struct pollfd p[2] = {{.fd = c->listener, .events = POLLIN}, {.fd = c->stop, .events = POLLIN}};
        if (poll(p, 2, -1) < 0)
            continue;
        if (p[1].revents)
            return NULL;
        if (p[0].revents)
            control_accept(c);
    }
}

int control_start(struct control *c, const char *path) {
    (void)sem_init(&c->room, 0, CONTROL_CONNECTIONS_MAX);
    c->stop = eventfd(0, EFD_CLOEXEC);
    if (c->stop < 0)
        return err_errno("cannot make an eventfd");
    int r = local_socket_listen(path, &c->listener);
    if (r == 0 && pthread_create(&c->thread, NULL, control_run, c) != 0)
        r = err_set(ERR_SYSTEM, "cannot start a thread");
    return r;
}

/* The connections' threads are not joined: they hold nothing that outlives the process. */
void control_stop(struct control *c, const char *path) {
    (void)unlink(path);
    (void)!write(c->stop, &(uint64_t){1}, sizeof(uint64_t));
    (void)pthread_join(c->thread, NULL);
    (void)close(c->listener);
}
