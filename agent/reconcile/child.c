#include "agent/reconcile/child.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/base/frame.h"
#include "platform/base/json.h"
#include "platform/base/log.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define CHILD_SEND_MS 5000
#define CHILD_STOP_MS 3000
#define CHILD_KILL_MS 5000
#define CHILD_TRY_MS 40000
#define CHILD_FD 3 /* the child's end, see agent/mail/mail.h */

void child_init(struct child *c, struct board *board, void (*attention)(void *), void *userdata) {
    *c = (struct child){.board = board,
                        .attention = attention,
                        .userdata = userdata,
                        .lock = PTHREAD_MUTEX_INITIALIZER,
                        .fd = -1,
                        .process = PROCESS_NONE,
                        .next_sync = 1};
}

static int child_spawn(struct process *ret_process, int *ret_fd) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return err_errno("cannot make a socketpair");
    cleanup(fd) int ours = pair[0], theirs = pair[1];
    const char *const argv[] = {"satcheld", "--role=mail", NULL};
    const struct process_fd fds[] = {{.from = theirs, .to = CHILD_FD},
                                     {.from = STDERR_FILENO, .to = STDERR_FILENO}};
    int r = process_spawn(&(struct process_spawn){.path = "/proc/self/exe",
                                                  .argv = argv,
                                                  .fds = fds,
                                                  .n_fds = 2,
                                                  .new_session = true,
                                                  .no_core = true,
                                                  .die_with_parent = true},
                          ret_process);
    if (r == 0)
        *ret_fd = steal_fd(&ours);
    return r;
}

/* True when the child finds its vault closed, which the worker has to see to. */
static bool child_take_status(struct board *board, const cJSON *event) {
    const char *imap = json_str(event, "imap"), *push = json_str(event, "push"),
               *last = json_str(event, "last_sync"), *text = json_str(event, "text");
    struct board_view *v = board_begin(board);
    board_text(v->imap, "%s", imap ? imap : "");
    board_text(v->push, "%s", push ? push : "");
    /* A pass that ended has no download left, also where messages went before they could be fetched. */
    if (!imap || strcmp(imap, "ok") != 0 || (last && strcmp(last, v->last_sync) != 0))
        progress_end(&v->progress);
    if (last)
        board_text(v->last_sync, "%s", last);
    board_text(v->mail_text, "%s", text ? text : "");
    v->folders = json_int(event, "folders", v->folders);
    v->messages = json_int(event, "messages", v->messages);
    v->pending = json_int(event, "pending", v->pending);
    v->asks = json_int(event, "asks", 0);
    board_end(board);
    return imap && strcmp(imap, "vault-closed") == 0;
}

static void child_take(struct child *c, const cJSON *event) {
    struct board *board = c->board;
    const char *kind = json_str(event, "event"), *text = json_str(event, "text");
    if (!kind)
        return;
    if (strcmp(kind, "status") == 0) {
        if (child_take_status(board, event))
            c->attention(c->userdata);
    } else if (strcmp(kind, "progress") == 0) {
        struct board_view *v = board_begin(board);
        progress_update(&v->progress, clock_boot_ms(), json_int(event, "done", 0),
                        json_int(event, "total", 0), json_int(event, "bytes", 0),
                        json_int(event, "bytes_total", 0));
        board_end(board);
    } else if (strcmp(kind, "synced") == 0) {
        struct board_view *v = board_begin(board);
        v->synced_id = json_int(event, "id", 0);
        v->synced_ok = json_bool(event, "ok", false);
        board_text(v->synced_text, "%s", text ? text : "");
        board_end(board);
    }
}

static void *child_read(void *userdata) {
    struct child *c = userdata;
    cleanup(frame) struct frame f;
    frame_init(&f, c->fd);
    for (;;) {
        cleanup(cJSON) cJSON *event = NULL;
        int r = frame_recv(&f, -1, INT64_MAX, &event);
        if (r == ERR_INVALID)
            continue;
        if (r < 0)
            break;
        child_take(c, event);
    }
    /* Only then can the worker bury it; told earlier, it would find it alive and not look again. */
    struct pollfd ended = {.fd = c->reader_pidfd, .events = POLLIN};
    (void)poll(&ended, 1, CHILD_KILL_MS);
    (void)close(c->reader_pidfd);
    struct board_view *v = board_begin(c->board);
    v->mail_running = false;
    progress_end(&v->progress);
    board_text(v->imap, "connecting");
    board_text(v->mail_text, "the mail process is not running");
    board_end(c->board);
    c->attention(c->userdata);
    return NULL;
}

/* Waits for a child that is ending, and forgets it. */
static int child_bury(struct child *c, int64_t deadline) {
    int status = 0;
    int r = process_wait(&c->process, deadline, &status);
    if (r < 0)
        return r;
    if (c->has_reader)
        (void)pthread_join(c->reader, NULL);
    c->has_reader = false;
    (void)pthread_mutex_lock(&c->lock);
    (void)close(c->fd);
    c->fd = -1;
    (void)pthread_mutex_unlock(&c->lock);
    process_finish(&c->process);
    c->process = PROCESS_NONE;
    log_debug("the mail child ended with status %d", status);
    return 0;
}

int child_start(struct child *c, const cJSON *configure) {
    int r = child_kill(c);
    int fd = -1;
    if (r == 0)
        r = child_spawn(&c->process, &fd);
    if (r < 0)
        return r;
    (void)pthread_mutex_lock(&c->lock);
    c->fd = fd;
    (void)pthread_mutex_unlock(&c->lock);
    struct board_view *v = board_begin(c->board);
    v->mail_running = true;
    board_text(v->imap, "connecting");
    board_end(c->board);
    r = frame_send(fd, configure, clock_boot_ms() + CHILD_SEND_MS);
    if (r == 0) {
        c->reader_pidfd = fcntl(c->process.pidfd, F_DUPFD_CLOEXEC, 0);
        if (pthread_create(&c->reader, NULL, child_read, c) != 0)
            r = err_set(ERR_SYSTEM, "cannot start a thread");
    }
    c->has_reader = r == 0;
    if (r < 0)
        (void)child_kill(c);
    return r;
}

void child_stop(struct child *c) {
    cleanup(cJSON) cJSON *stop = cJSON_CreateObject();
    if (c->process.pid && json_add_str(stop, "op", "stop") == 0 &&
        frame_send(c->fd, stop, clock_boot_ms() + CHILD_STOP_MS) == 0)
        (void)child_bury(c, clock_boot_ms() + CHILD_STOP_MS);
    if (child_kill(c) < 0)
        log_warning("the mail child does not end: %s, ignoring", err_text());
}

int child_kill(struct child *c) {
    if (!c->process.pid)
        return 0;
    int r = process_signal(&c->process, SIGKILL);
    return r < 0 ? r : child_bury(c, clock_boot_ms() + CHILD_KILL_MS);
}

bool child_running(struct child *c) {
    struct board_view v;
    (void)board_get(c->board, &v);
    /* A child that closed its stream and does not end is no use: it is ended. */
    if (c->process.pid && child_bury(c, 0) < 0 && c->has_reader && !v.mail_running && child_kill(c) < 0)
        log_warning("the mail child does not end: %s, ignoring", err_text());
    return c->process.pid != 0;
}

int child_sync(struct child *c, bool confirm_deletions, int64_t *ret_id) {
    cleanup(cJSON) cJSON *op = cJSON_CreateObject();
    (void)pthread_mutex_lock(&c->lock);
    int64_t id = c->next_sync++;
    int r = c->fd < 0 ? err_set(ERR_WRONG_STATE,
                                "mail is not being synchronized at the moment; see `satchel status`")
                      : 0;
    if (r == 0)
        r = json_add_str(op, "op", "sync");
    if (r == 0)
        r = json_add_int(op, "id", id);
    if (r == 0 && confirm_deletions)
        r = json_add_bool(op, "confirm_deletions", true);
    if (r == 0)
        r = frame_send(c->fd, op, clock_boot_ms() + CHILD_SEND_MS);
    (void)pthread_mutex_unlock(&c->lock);
    if (r == 0)
        *ret_id = id;
    return r;
}

static int child_verdict(const cJSON *event) {
    static const struct {
        const char *imap;
        int code;
    } verdicts[] = {{"ok", 0},
                    {"auth-failed", ERR_AUTH},
                    {"unreachable", ERR_UNREACHABLE},
                    {"tls-failed", ERR_TLS},
                    {"protocol-error", ERR_PROTOCOL}};
    const char *imap = json_str(event, "imap"), *text = json_str(event, "text");
    for (size_t i = 0; imap && i < sizeof verdicts / sizeof *verdicts; i++)
        if (strcmp(imap, verdicts[i].imap) == 0)
            return verdicts[i].code ? err_set(verdicts[i].code, "%s", text && *text ? text : imap) : 0;
    return err_set(ERR_PROTOCOL, "the mail child gave an answer that makes no sense");
}

int child_try(const cJSON *account, int cancel) {
    cleanup(process) struct process process = PROCESS_NONE;
    cleanup(fd) int fd = -1;
    int64_t deadline = clock_boot_ms() + CHILD_TRY_MS;
    cJSON *op = cJSON_CreateObject();
    int r = json_add_str(op, "op", "try");
    if (r == 0)
        r = json_add_item(op, "account", cJSON_Duplicate(account, true));
    if (r == 0)
        r = child_spawn(&process, &fd);
    if (r == 0)
        r = frame_send(fd, op, deadline);
    json_delete_secret(op);
    if (r < 0)
        return r;
    cleanup(frame) struct frame f;
    frame_init(&f, fd);
    cJSON *event = NULL;
    const char *kind;
    do { /* it also reports how it is doing */
        cJSON_Delete(event);
        event = NULL;
        r = frame_recv(&f, cancel, deadline, &event);
        kind = json_str(event, "event");
    } while (r == 0 && (!kind || strcmp(kind, "tried") != 0));
    if (r == 0)
        r = child_verdict(event);
    else if (r == ERR_UNREACHABLE)
        r = err_set(ERR_PROTOCOL, "the mail child ended unexpectedly");
    cJSON_Delete(event);
    char text[BOARD_TEXT];
    board_text(text, "%s", err_text());
    (void)process_kill(&process, clock_boot_ms() + CHILD_KILL_MS);
    return r < 0 ? err_set(r, "%s", text) : 0;
}
