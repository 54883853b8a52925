/*
 * satchel-server: the management API. `init` makes an organization, `serve` runs it.
 */
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/base/log.h"
#include "platform/linux/notify.h"
#include "server-api/server/domain/audit.h"
#include "server-api/server/endpoint/app.h"
#include "server-api/server/http/listen.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define FLUSH_SECONDS 15
#define DRAIN_MS 10000
#define WORKERS 24
#define ENROLL_FAILURES_A_MINUTE 30
#define ADMIN_CONNECTIONS 512

static const char usage[] =
    "Usage: satchel-server init DIR --organization NAME --domain DOMAIN --public-url https://HOST:PORT\n"
    "                           [--listen ADDR:PORT] [--admin-listen ADDR:PORT] [--certificate-days N]\n"
    "                           [--store sqlite]\n"
    "       satchel-server serve DIR\n"
    "\n"
    "init   makes the organization's keys, certificates and store in the new directory DIR\n"
    "serve  runs the management API from DIR until SIGTERM\n"
    "\n"
    "  --organization NAME       shown to employees\n"
    "  --domain DOMAIN           the company's mail domain\n"
    "  --public-url URL          where devices reach the server; part of every enrollment link\n"
    "  --listen ADDR:PORT        device API (default: every address, port of the URL)\n"
    "  --admin-listen ADDR:PORT  admin API (default: 127.0.0.1:8444)\n"
    "  --certificate-days N      how long a device's certificate is valid; renewed at two thirds (default: "
    "365)\n"
    "  --store sqlite            where data is kept (default and only choice of this version)\n"
    "  --help, --version\n"
    "\n"
    "Exit status: 0 done, 1 failed, 2 usage, 4 refused.\n";

struct serving {
    struct organization *organization;
    struct store *store;
    struct seen *seen;
    struct hub *hub;
    struct limit *limit;
    struct workers *workers;
    struct app app;
};

static int init_store_body(struct store_tx *tx, void *arg) {
    return audit_add(tx, "server", "organization.created", arg, NULL);
}

static int init_store(const char *dir, const char *name) {
    cleanup(organization) struct organization *o = NULL;
    cleanup(store) struct store *store = NULL;
    char copy[ORGANIZATION_NAME_MAX + 1];
    (void)snprintf(copy, sizeof copy, "%s", name);
    int r = organization_open(dir, &o);
    if (r == 0)
        r = store_open(o->store_url, &store);
    return r < 0 ? r : store_write(store, init_store_body, copy);
}

static int init_days(const char *text, int64_t *ret) {
    char *end;
    long days = strtol(text, &end, 10);
    if (*end || end == text || days < 1 || days > ORGANIZATION_CERTIFICATE_DAYS_MAX)
        return err_set(ERR_USAGE, "--certificate-days: must be a whole number from 1 to %d",
                       ORGANIZATION_CERTIFICATE_DAYS_MAX);
    *ret = days;
    return 0;
}

static int run_init(int argc, char **argv) {
    static const struct option options[] = {
        {"organization", required_argument, NULL, 'o'}, {"domain", required_argument, NULL, 'd'},
        {"public-url", required_argument, NULL, 'u'},   {"listen", required_argument, NULL, 'l'},
        {"admin-listen", required_argument, NULL, 'a'}, {"certificate-days", required_argument, NULL, 'c'},
        {"store", required_argument, NULL, 's'},        {NULL, 0, NULL, 0}};
    struct organization_settings s = {0};
    const char *store = "sqlite", *days = NULL;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'o':
            s.name = optarg;
            break;
        case 'd':
            s.domain = optarg;
            break;
        case 'u':
            s.public_url = optarg;
            break;
        case 'l':
            s.listen = optarg;
            break;
        case 'a':
            s.admin_listen = optarg;
            break;
        case 'c':
            days = optarg;
            break;
        case 's':
            store = optarg;
            break;
        default:
            return err_set(ERR_USAGE, "see satchel-server --help");
        }
    }
    if (optind != argc - 1 || !s.name || !s.domain || !s.public_url)
        return err_set(ERR_USAGE, "init needs DIR, --organization, --domain and --public-url");
    if (strcmp(store, "sqlite") != 0)
        return err_set(ERR_REFUSED, "this version stores in SQLite only; leave --store out");
    int r = days ? init_days(days, &s.certificate_days) : 0;
    if (r == 0 && s.listen)
        r = listen_check(s.listen);
    if (r == 0 && s.admin_listen)
        r = listen_check(s.admin_listen);
    if (r == 0)
        r = organization_init(argv[optind], &s);
    if (r == 0)
        r = init_store(argv[optind], s.name);
    if (r == 0)
        (void)printf("made %s; start it with: satchel-server serve %s\n", argv[optind], argv[optind]);
    return r;
}

static int serve_prepare(const char *dir, struct serving *s) {
    int r = organization_open(dir, &s->organization);
    if (r == 0)
        r = store_open(s->organization->store_url, &s->store);
    if (r < 0)
        return r;
    s->seen = seen_create();
    s->hub = hub_create();
    s->limit = limit_create(ENROLL_FAILURES_A_MINUTE);
    s->workers = workers_create(WORKERS);
    if (!s->seen || !s->hub || !s->limit || !s->workers)
        return ERR_SYSTEM;
    s->app.auth = (struct auth){.store = s->store, .organization = s->organization, .seen = s->seen};
    s->app.hub = s->hub;
    s->app.limit = s->limit;
    s->app.started_at = clock_real_ms();
    return app_prepare(&s->app);
}

static int serve_listen(struct serving *s) {
    unsigned descriptors = listen_raise_limit();
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    struct http_config config = {.name = "device",
                                 .listen = s->organization->listen,
                                 .key_pem = s->organization->tls_key_pem,
                                 .chain_pem = s->organization->tls_chain_pem,
                                 .certificates = true,
                                 .routes = app_device_routes,
                                 .n_routes = app_device_routes_count,
                                 .gate = app_device_gate,
                                 .context = &s->app,
                                 .hub = s->hub,
                                 .workers = s->workers,
                                 .threads = cores < 2   ? 2
                                            : cores > 8 ? 8
                                                        : (unsigned)cores,
                                 .connections = descriptors > 4 * ADMIN_CONNECTIONS
                                                    ? descriptors - 2 * ADMIN_CONNECTIONS
                                                    : descriptors / 2,
                                 .header_max = 4096};
    struct http_server *started = NULL;
    int r = http_server_start(&config, &started);
    if (r < 0)
        return r;
    s->app.device = started;
    config.name = "admin";
    config.listen = s->organization->admin_listen;
    config.certificates = false;
    config.routes = app_admin_routes;
    config.n_routes = app_admin_routes_count;
    config.gate = app_admin_gate;
    config.threads = 2;
    config.connections = ADMIN_CONNECTIONS;
    config.header_max = 16384;
    r = http_server_start(&config, &started);
    if (r == 0)
        s->app.admin = started;
    return r;
}

/* Until a signal asks us to end; the signals are blocked in every thread and taken here. */
static void serve_wait(struct serving *s, const sigset_t *signals) {
    const struct timespec flush = {.tv_sec = FLUSH_SECONDS};
    for (;;) {
        int signal = sigtimedwait(signals, NULL, &flush);
        if (signal == SIGTERM || signal == SIGINT)
            return;
        if (seen_flush(s->seen, s->store) < 0)
            log_warning("cannot write when devices were seen: %s, ignoring", err_text());
    }
}

static void serve_stop(struct serving *s) {
    http_server_quiesce(s->app.device);
    http_server_quiesce(s->app.admin);
    if (s->hub)
        hub_close(s->hub);
    if (s->app.device)
        http_server_drain(s->app.device, DRAIN_MS);
    if (s->app.admin)
        http_server_drain(s->app.admin, DRAIN_MS);
    workers_destroy(s->workers);
    http_server_stop(s->app.device);
    http_server_stop(s->app.admin);
    if (s->seen && s->store && seen_flush(s->seen, s->store) < 0)
        log_warning("cannot write when devices were seen: %s, ignoring", err_text());
    limit_destroy(s->limit);
    hub_destroy(s->hub);
    seen_destroy(s->seen);
    store_close(s->store);
    organization_close(s->organization);
}

static int run_serve(int argc, char **argv) {
    if (argc != 2)
        return err_set(ERR_USAGE, "serve needs DIR and nothing else");
    sigset_t signals;
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &signals, NULL); /* before the first thread */
    (void)signal(SIGPIPE, SIG_IGN);
    struct serving *s = calloc(1, sizeof *s);
    if (!s)
        return err_errno("cannot start");
    int r = serve_prepare(argv[1], s);
    if (r == 0)
        r = serve_listen(s);
    if (r == 0) {
        (void)printf("listening on %s (devices) and %s (admin)\n", s->organization->listen,
                     s->organization->admin_listen);
        (void)fflush(stdout);
        notify_service("READY=1");
        serve_wait(s, &signals);
        notify_service("STOPPING=1");
        log_info("stopping");
    }
    char text[1024];
    (void)snprintf(text, sizeof text, "%s", err_text());
    serve_stop(s);
    free(s);
    return r < 0 ? err_set(r, "%s", text) : 0;
}

int main(int argc, char **argv) {
    (void)umask(077);
    (void)setrlimit(RLIMIT_CORE, &(const struct rlimit){0, 0}); /* keys are in this memory */
    log_init("satchel-server", getenv("SATCHEL_DEBUG") ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
    const char *verb = argc > 1 ? argv[1] : "";
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0) {
            (void)fputs(usage, stdout);
            return 0;
        }
    if (strcmp(verb, "--version") == 0) {
        (void)puts("satchel-server " SATCHEL_VERSION);
        return 0;
    }
    int r = strcmp(verb, "init") == 0    ? run_init(argc - 1, argv + 1)
            : strcmp(verb, "serve") == 0 ? run_serve(argc - 1, argv + 1)
                                         : err_set(ERR_USAGE, "there are init and serve; see --help");
    if (r < 0)
        (void)fprintf(stderr, "satchel-server: %s\n", err_text());
    return err_exit(r);
}
