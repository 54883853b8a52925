/* satcheld: the background agent. With --role=mail it is the mail child of another satcheld. */
#include "agent/channel/channel.h"
#include "agent/control/control.h"
#include "agent/mail/mail.h"
#include "agent/reconcile/worker.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/base/log.h"
#include "platform/https/https.h"
#include "platform/linux/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define SATCHELD_MAIL_FD 3
#define SATCHELD_LOCK "lock"
#define SATCHELD_RUNNING ERR_WRONG_STATE /* nothing else at the start gives this code */

struct satcheld {
    struct paths paths;
    struct board board;
    struct identity identity;
    struct outbox outbox;
    struct child child;
    struct agent agent;
    struct worker worker;
    struct channel channel;
    struct control control;
    int lock; /* held as long as this process lives */
};

static int satcheld_help(FILE *out) {
    return fprintf(out, "satcheld: the agent that keeps your organization's mail on this device\n\n"
                        "Usage: satcheld [--ready-fd=N] [--debug]\n\n"
                        "  --ready-fd=N  write \"ready\", or why it cannot start, to this descriptor\n"
                        "  --role=mail   the mail child; started by satcheld itself\n"
                        "  --debug       log more\n"
                        "  --help, --version\n\n"
                        "It runs in the foreground as the employee and never needs root. `satchel` starts it "
                        "where no service "
                        "manager does.\n") < 0;
}

/* No core dump, no reading of our memory by other processes of the user; private files only. */
static int satcheld_harden(void) {
    (void)umask(077);
    (void)signal(SIGPIPE, SIG_IGN);
    if (setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}) < 0 || prctl(PR_SET_DUMPABLE, 0) < 0)
        return err_errno("cannot protect the memory of this process");
    return chdir("/") < 0 ? err_errno("cannot leave the working directory") : 0;
}

static int satcheld_lock(struct satcheld *s) {
    int r = paths_make(&s->paths, &s->agent.state_dir);
    if (r < 0)
        return r;
    s->lock = openat(s->agent.state_dir, SATCHELD_LOCK, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (s->lock < 0)
        return err_errno("cannot open the lock file");
    if (flock(s->lock, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? err_set(SATCHELD_RUNNING, "satcheld is already running for this user")
                                    : err_errno("cannot take the lock");
    return 0;
}

static void satcheld_attention(void *worker) {
    worker_kick(worker);
}

static void satcheld_state(void *worker, cJSON *document) {
    worker_state(worker, document);
}

static void satcheld_acknowledged(void *worker, const char *order, bool last) {
    worker_acknowledged(worker, order, last);
}

static void satcheld_certificate(void *worker, const char *pem) {
    worker_certificate(worker, pem);
}

/* Puts the parts together. Nothing runs yet. */
static int satcheld_assemble(struct satcheld *s) {
    int r = board_init(&s->board);
    identity_init(&s->identity);
    child_init(&s->child, &s->board, satcheld_attention, &s->worker);
    if (r == 0)
        r = outbox_init(&s->outbox);
    s->agent.paths = &s->paths;
    s->agent.board = &s->board;
    s->agent.identity = &s->identity;
    s->agent.outbox = &s->outbox;
    s->agent.child = &s->child;
    s->channel = (struct channel){.board = &s->board,
                                  .identity = &s->identity,
                                  .outbox = &s->outbox,
                                  .state = satcheld_state,
                                  .acknowledged = satcheld_acknowledged,
                                  .certificate = satcheld_certificate,
                                  .userdata = &s->worker};
    s->control = (struct control){
        .board = &s->board, .worker = &s->worker, .child = &s->child, .state_dir = s->agent.state_dir};
    if (r == 0)
        r = agent_init(&s->agent);
    if (r == 0)
        r = worker_init(&s->worker, &s->agent);
    if (r == 0)
        r = channel_init(&s->channel);
    return r == 0 ? agent_load(&s->agent) : r;
}

static int satcheld_start(struct satcheld *s) {
    int r = worker_start(&s->worker);
    if (r == 0)
        r = channel_start(&s->channel);
    return r == 0 ? control_start(&s->control, s->paths.control) : r;
}

static void satcheld_wait_for_signal(void) {
    sigset_t set;
    int sig;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigwait(&set, &sig);
    log_info("ending: %s", strsignal(sig));
}

/* Before any thread: they inherit the mask, and only the main thread takes the signals. */
static void satcheld_block_signals(void) {
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static void satcheld_stop(struct satcheld *s) {
    notify_service("STOPPING=1");
    control_stop(&s->control, s->paths.control);
    channel_stop(&s->channel);
    worker_stop(&s->worker);
    agent_finish(&s->agent);
    identity_clear(&s->identity);
}

static void satcheld_ready(int ready_fd, int result) {
    if (result == 0)
        notify_service("READY=1");
    if (ready_fd < 0)
        return;
    (void)dprintf(ready_fd, "%s\n",
                  result == 0                  ? "ready"
                  : result == SATCHELD_RUNNING ? "running"
                                               : err_text());
    (void)close(ready_fd);
}

static int satcheld_run(int ready_fd) {
    static struct satcheld s; /* large, and threads refer to it to the end */
    satcheld_block_signals();
    int r = satcheld_harden();
    if (r == 0)
        r = https_init();
    if (r == 0)
        r = paths_find(&s.paths);
    if (r == 0)
        r = satcheld_lock(&s);
    if (r == 0)
        r = satcheld_assemble(&s);
    if (r == 0)
        r = satcheld_start(&s);
    satcheld_ready(ready_fd, r);
    if (r < 0) {
        log_error("%s", err_text());
        return err_exit(r);
    }
    satcheld_wait_for_signal();
    satcheld_stop(&s);
    return 0;
}

int main(int argc, char **argv) {
    static const struct option options[] = {
        {"role", required_argument, NULL, 'r'}, {"ready-fd", required_argument, NULL, 'f'},
        {"debug", no_argument, NULL, 'd'},      {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},    {0}};
    int option, ready_fd = -1;
    bool mail = false, debug = false;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'r' && strcmp(optarg, "mail") == 0)
            mail = true;
        else if (option == 'f' && optarg[0] >= '3' && optarg[0] <= '9' && !optarg[1])
            ready_fd = optarg[0] - '0';
        else if (option == 'd')
            debug = true;
        else if (option == 'h')
            return satcheld_help(stdout);
        else if (option == 'v')
            return printf("satcheld %s\n", SATCHEL_VERSION) < 0;
        else
            return (void)satcheld_help(stderr), 2;
    }
    if (optind != argc)
        return (void)satcheld_help(stderr), 2;
    log_init(mail ? "satcheld-mail" : "satcheld", debug ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
    return mail ? mail_main(SATCHELD_MAIL_FD) : satcheld_run(ready_fd);
}
