#include "agent/mail/mail.h"
#include "agent/mail/confine.h"
#include "agent/mail/sync/engine.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/base/frame.h"
#include "platform/base/log.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define TRY_MS 30000
#define STOP_MS 5000
#define KEEP_DAYS_MAX 36500

/* A login that is being tried. */
struct attempt {
    struct report *report;
    struct account *account; /* owned */
    pthread_t thread;
    bool started;
    int cancel;
};

struct child {
    struct report report;
    struct engine *engine; /* NULL until the first order that has an account */
    struct attempt attempt;
};

static void *attempt_main(void *ctx) {
    struct attempt *a = ctx;
    struct imap_connection *connection = NULL;
    int r = imap_connection_open(&a->account->endpoint, a->cancel, clock_boot_ms() + TRY_MS, &connection);
    imap_connection_close(connection);
    report_tried(a->report, report_imap_word(r), r == 0 ? "" : err_text());
    return NULL;
}

/* Ends the attempt that runs, if one does. It answers before it ends. */
static void attempt_end(struct attempt *a) {
    if (a->started) {
        (void)eventfd_write(a->cancel, 1);
        (void)pthread_join(a->thread, NULL);
    }
    account_destroy(steal(a->account));
    fd_cleanup(&a->cancel);
    a->cancel = -1;
    a->started = false;
}

static int attempt_start(struct attempt *a, struct account *account) {
    attempt_end(a);
    a->account = account;
    a->cancel = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    errno = a->cancel < 0 ? errno : pthread_create(&a->thread, NULL, attempt_main, a);
    a->started = a->cancel >= 0 && errno == 0;
    return a->started ? 0 : err_errno("cannot try the login");
}

/* The first account came in, and with it what this process is for: it is confined to that, and only then it
 * starts threads and talks to anybody. */
static void child_begin(struct child *c, const char *vault, uint16_t port) {
    struct sandbox_state state = {0};
    if (c->engine)
        return;
    int r = confine_enter(vault, port, &state);
    if (r == 0)
        r = engine_start(&c->report, &c->engine);
    if (r < 0) {
        log_error("the mail child cannot start: %s", err_text());
        _exit(1);
    }
    if (!state.files)
        log_warning("the kernel has no Landlock: this process is not confined to its files");
}

static int on_try(struct child *c, const cJSON *op) {
    struct account *account = NULL;
    int r = account_parse(json_object(op, "account"), &account);
    if (r == 0) {
        child_begin(c, NULL, 0);
        r = attempt_start(&c->attempt, account);
    }
    if (r < 0)
        report_tried(&c->report, report_imap_word(r), err_text());
    return r;
}

static void config_cleanup(struct engine_config **c) {
    engine_config_destroy(*c);
}

static int on_configure(struct child *c, const cJSON *op) {
    cleanup(config) struct engine_config *config = calloc(1, sizeof *config);
    const cJSON *vault = json_object(op, "vault");
    const char *path = NULL;
    int64_t device = 0, keep_days = json_int(op, "keep_days", 0);
    if (!config)
        return err_set(ERR_SYSTEM, "out of memory");
    int r = account_parse(json_object(op, "account"), &config->account);
    if (r == 0)
        r = json_need_str(vault, "path", 3000, &path);
    if (r == 0)
        r = json_need_int(vault, "device", 0, INT64_MAX, &device);
    if (r < 0 || !path)
        return r;
    if (path[0] != '/' || keep_days < 0 || keep_days > KEEP_DAYS_MAX)
        return err_set(ERR_INVALID,
                       "\"vault\" needs an absolute path, and \"keep_days\" lies between 0 and %d",
                       KEEP_DAYS_MAX);
    config->vault = strdup(path);
    config->device = (uint64_t)device;
    config->keep_days = (int)keep_days;
    if (!config->vault)
        return err_set(ERR_SYSTEM, "out of memory");
    child_begin(c, path, config->account->endpoint.port);
    engine_configure(c->engine, steal(config));
    return 0;
}

/* One order of the supervisor. 1: stop. */
static int on_order(struct child *c, const cJSON *op) {
    const char *name = json_str(op, "op");
    int64_t id = 0;
    if (!name)
        return err_set(ERR_INVALID, "\"op\" is missing");
    if (strcmp(name, "try") == 0)
        return on_try(c, op);
    if (strcmp(name, "configure") == 0)
        return on_configure(c, op);
    if (strcmp(name, "stop") == 0)
        return 1;
    if (strcmp(name, "sync") != 0)
        return err_set(ERR_INVALID, "an operation that is not known");
    int r = json_need_int(op, "id", INT64_MIN, INT64_MAX, &id);
    if (r == 0 && c->engine)
        engine_sync(c->engine, id, json_bool(op, "confirm_deletions", false));
    else if (r == 0)
        report_synced(&c->report, id, false, "there is no account yet");
    return r;
}

static void child_read(struct child *c, int fd) {
    cleanup(frame) struct frame frame;
    frame_init(&frame, fd);
    for (;;) {
        cJSON *op = NULL;
        int r = frame_recv(&frame, -1, INT64_MAX, &op);
        if (r == 0)
            r = on_order(c, op);
        json_delete_secret(op);
        if (r > 0 || r == ERR_UNREACHABLE || r == ERR_TOO_LARGE || r == ERR_SYSTEM)
            return;
        if (r < 0)
            log_warning("an order of the supervisor is not usable: %s", err_text());
    }
}

/* What is large is given back to the system as soon as it is freed, and threads share what is small. */
static void child_memory(void) {
    (void)mallopt(M_MMAP_THRESHOLD, 128 << 10);
    (void)mallopt(M_ARENA_MAX, 1);
}

/* No core dump and no debugger of the same user may see the password. */
static int child_protect(void) {
    const struct rlimit none = {0};
    if (prctl(PR_SET_DUMPABLE, 0) != 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 ||
        setrlimit(RLIMIT_CORE, &none) != 0)
        return err_errno("cannot protect the process");
    (void)umask(077);
    return signal(SIGPIPE, SIG_IGN) == SIG_ERR ? err_errno("cannot ignore SIGPIPE") : 0;
}

int mail_main(int fd) {
    static struct child child; /* outlives the threads, also when they have to be left behind */
    child.attempt = (struct attempt){.report = &child.report, .cancel = -1};
    report_init(&child.report, fd);
    child_memory();
    int r = child_protect();
    if (r == 0)
        r = imap_connection_setup();
    if (r < 0) {
        log_error("the mail child cannot start: %s", err_text());
        return 1;
    }
    child_read(&child, fd);
    attempt_end(&child.attempt);
    if (child.engine && engine_stop(child.engine, clock_boot_ms() + STOP_MS) < 0) {
        log_warning("the mail engine does not stop, leaving");
        _exit(0);
    }
    report_finish(&child.report);
    return 0;
}
