#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/encode.h"
#include "platform/base/err.h"
#include "platform/keyring/keyring.h"

#include <errno.h>
#include <gio/gio.h>
#include <libsecret/secret.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

/*
 * Each call is a job for a thread of its own, because libsecret waits for D-Bus without a limit that can be
 * relied on. The caller waits for the job or the deadline; past the deadline it cancels and leaves the job to
 * the thread, which frees it when it comes back. Every job has its own connection to the bus: the shared one
 * of GLib ends the process when the bus goes away.
 */

#define LIBSECRET_ABANDONED_MAX 8

#define LIBSECRET_LOCKED "The keyring is locked. Unlock it, e.g. by logging in again, and try again."
#define LIBSECRET_SILENT "The keyring does not answer. Log in again or restart it, and try again."

enum libsecret_op { OP_STATUS, OP_STORE, OP_LOAD, OP_REMOVE, OP_LIST };

/* Set once by whoever is first: the thread that finished, or the caller whose deadline passed. */
enum libsecret_state { STATE_RUNNING, STATE_DONE, STATE_ABANDONED };

struct libsecret_job {
    atomic_int refs; /* the caller and the thread */
    enum libsecret_op op;
    char address[PATH_MAX + 32];
    char kind[KEYRING_KIND_MAX + 1];
    char label[256];
    struct buf secret; /* in: base64url text; out: the bytes */
    struct keyring_status status;
    struct keyring_kinds kinds;
    int result;
    char text[1024];
    atomic_int state; /* enum libsecret_state */
    int done;         /* eventfd */
    int timeout_ms;
    GCancellable *cancel;
};

static atomic_int libsecret_abandoned;

static const SecretSchema libsecret_schema = {
    .name = "org.satchel.Secret",
    .flags = SECRET_SCHEMA_NONE,
    .attributes = {{"application", SECRET_SCHEMA_ATTRIBUTE_STRING}, {"kind", SECRET_SCHEMA_ATTRIBUTE_STRING}},
};

/* A SecretService that never prompts: where libsecret would ask the person, the call fails. */
struct _KeyringService {
    SecretService parent;
};
G_DECLARE_FINAL_TYPE(KeyringService, keyring_service, KEYRING, SERVICE, SecretService)
G_DEFINE_TYPE(KeyringService, keyring_service, SECRET_TYPE_SERVICE)

static GVariant *refuse_prompt(SecretService *self, SecretPrompt *prompt, GCancellable *cancel,
                               const GVariantType *type, GError **error) {
    (void)self, (void)prompt, (void)cancel, (void)type;
    g_set_error_literal(error, SECRET_ERROR, SECRET_ERROR_IS_LOCKED, "the keyring would have to ask");
    return NULL;
}

/* The constructor of libsecret chooses the shared bus: taken back here, the connection that was given counts.
 */
static GObject *keyring_service_constructor(GType type, guint n, GObjectConstructParam *properties) {
    GObject *self = G_OBJECT_CLASS(keyring_service_parent_class)->constructor(type, n, properties);
    g_object_set(self, "g-bus-type", G_BUS_TYPE_NONE, NULL);
    return self;
}

static void keyring_service_class_init(KeyringServiceClass *klass) {
    G_OBJECT_CLASS(klass)->constructor = keyring_service_constructor;
    SECRET_SERVICE_CLASS(klass)->prompt_sync = refuse_prompt;
}

static void keyring_service_init(KeyringService *self) {
    (void)self;
}

static void error_cleanup(GError **error) {
    g_clear_error(error);
}

static void object_cleanup(void *p) {
    GObject *object = *(GObject **)p;
    if (object)
        g_object_unref(object);
}

static void items_cleanup(GList **items) {
    g_list_free_full(*items, g_object_unref);
}

static void table_cleanup(GHashTable **table) {
    if (*table)
        g_hash_table_unref(*table);
}

/* Turns what GLib says into our sentence; takes what is in `error`. */
static int from_glib(const char *what, GError *error) {
    if (!error)
        return err_set(ERR_KEYRING, "%s: the keyring gave no reason", what);
    if (g_error_matches(error, SECRET_ERROR, SECRET_ERROR_IS_LOCKED))
        return err_set(ERR_KEYRING, LIBSECRET_LOCKED);
    if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED) ||
        g_error_matches(error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT) ||
        g_error_matches(error, G_DBUS_ERROR, G_DBUS_ERROR_NO_REPLY))
        return err_set(ERR_KEYRING, LIBSECRET_SILENT);
    if (g_error_matches(error, G_DBUS_ERROR, G_DBUS_ERROR_SERVICE_UNKNOWN) ||
        g_error_matches(error, G_DBUS_ERROR, G_DBUS_ERROR_NAME_HAS_NO_OWNER))
        return err_set(ERR_KEYRING, "There is no keyring service on the session bus. Start one, e.g. install "
                                    "gnome-keyring and log in again, and try again.");
    (void)g_dbus_error_strip_remote_error(error);
    return err_set(ERR_KEYRING, "%s: %s", what, error->message);
}

static int open_service(struct libsecret_job *job, SecretService **ret) {
    cleanup(error) GError *error = NULL;
    cleanup(object) GDBusConnection *bus = g_dbus_connection_new_for_address_sync(
        job->address,
        G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT | G_DBUS_CONNECTION_FLAGS_MESSAGE_BUS_CONNECTION, NULL,
        job->cancel, &error);
    if (!bus)
        return from_glib("The session bus cannot be reached. Log in to a desktop session and try again",
                         error);
    cleanup(object) SecretService *service =
        g_object_new(keyring_service_get_type(), "g-connection", bus, "g-default-timeout", job->timeout_ms,
                     "flags", SECRET_SERVICE_OPEN_SESSION, NULL);
    if (!g_initable_init(G_INITABLE(service), job->cancel, &error))
        return from_glib("The keyring cannot be reached", error);
    *ret = steal(service);
    return 0;
}

/* The default collection, or KEYRING_NOTHING where the service has none that lasts. */
static int open_default(struct libsecret_job *job, SecretService *service, SecretCollection **ret) {
    cleanup(error) GError *error = NULL;
    SecretCollection *collection = secret_collection_for_alias_sync(
        service, SECRET_COLLECTION_DEFAULT, SECRET_COLLECTION_NONE, job->cancel, &error);
    if (error)
        return from_glib("The default keyring cannot be opened", error);
    /* The session collection is forgotten at logout: never a place for a key. */
    if (collection &&
        g_str_has_suffix(g_dbus_proxy_get_object_path(G_DBUS_PROXY(collection)), "/collection/session")) {
        g_object_unref(collection);
        collection = NULL;
    }
    *ret = collection;
    return collection ? 0 : KEYRING_NOTHING;
}

static int no_default(void) {
    return err_set(ERR_KEYRING,
                   "There is no default keyring. Make one (in \"Passwords and Keys\", or by logging in "
                   "to the desktop once) and try again.");
}

/* Fails unless the default collection is there and open. */
static int need_default(struct libsecret_job *job, SecretService *service, SecretCollection **ret) {
    SecretCollection *collection = NULL;
    int r = open_default(job, service, &collection);
    if (r == KEYRING_NOTHING)
        return no_default();
    if (r == 0 && secret_collection_get_locked(collection)) {
        g_object_unref(collection);
        return err_set(ERR_KEYRING, LIBSECRET_LOCKED);
    }
    if (r == 0)
        *ret = collection;
    return r;
}

static GHashTable *attributes_of(const char *kind) {
    GHashTable *table = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    (void)g_hash_table_insert(table, g_strdup("application"), g_strdup("satchel"));
    if (kind)
        (void)g_hash_table_insert(table, g_strdup("kind"), g_strdup(kind));
    return table;
}

/*
 * Every item of ours in every collection: somebody may have made another one the default since. Searched
 * without the schema, which some services do not keep. A locked item is an error, for nothing can be done
 * with it.
 */
static int search(struct libsecret_job *job, SecretService *service, const char *kind, GList **ret) {
    cleanup(error) GError *error = NULL;
    cleanup(table) GHashTable *attributes = attributes_of(kind);
    cleanup(items) GList *items =
        secret_service_search_sync(service, NULL, attributes, SECRET_SEARCH_ALL, job->cancel, &error);
    if (error)
        return from_glib("The keyring cannot be searched", error);
    for (GList *i = items; i; i = i->next)
        if (secret_item_get_locked(i->data))
            return err_set(ERR_KEYRING, LIBSECRET_LOCKED);
    *ret = steal(items);
    return 0;
}

static int do_status(struct libsecret_job *job, SecretService *service) {
    cleanup(object) SecretCollection *collection = NULL;
    int r = open_default(job, service, &collection);
    if (r == KEYRING_NOTHING)
        return no_default();
    if (r == 0)
        job->status =
            (struct keyring_status){.available = true, .locked = secret_collection_get_locked(collection)};
    return r;
}

static int do_store(struct libsecret_job *job, SecretService *service) {
    cleanup(object) SecretCollection *collection = NULL;
    int r = need_default(job, service, &collection);
    if (r < 0)
        return r;
    cleanup(error) GError *error = NULL;
    cleanup(table) GHashTable *attributes = attributes_of(job->kind);
    SecretValue *value = secret_value_new(job->secret.data, (gssize)job->secret.len, "text/plain");
    cleanup(object) SecretItem *item =
        secret_item_create_sync(collection, &libsecret_schema, attributes, job->label, value,
                                SECRET_ITEM_CREATE_REPLACE, job->cancel, &error);
    secret_value_unref(value);
    return item ? 0 : from_glib("The keyring did not store the secret", error);
}

static int take_secret(struct libsecret_job *job, SecretItem *item) {
    cleanup(error) GError *error = NULL;
    if (!secret_item_load_secret_sync(item, job->cancel, &error))
        return from_glib("The keyring did not give the secret", error);
    SecretValue *value = secret_item_get_secret(item);
    if (!value)
        return err_set(ERR_KEYRING, LIBSECRET_LOCKED);
    gsize n = 0;
    const char *text = secret_value_get(value, &n);
    int r = decode_base64url(text, n, &job->secret);
    secret_value_unref(value);
    return r == ERR_INVALID ? err_set(r, "the %s in the keyring was not stored by Satchel", job->kind) : r;
}

static int do_load(struct libsecret_job *job, SecretService *service) {
    cleanup(object) SecretCollection *collection = NULL;
    cleanup(items) GList *items = NULL;
    int r = need_default(job, service, &collection);
    if (r == 0)
        r = search(job, service, job->kind, &items);
    if (r < 0)
        return r;
    SecretItem *newest = NULL;
    for (GList *i = items; i; i = i->next)
        if (!newest || secret_item_get_modified(i->data) > secret_item_get_modified(newest))
            newest = i->data;
    return newest ? take_secret(job, newest) : err_set(ERR_NOT_FOUND, "the keyring has no %s", job->kind);
}

/* Without a default collection ours may still lie in another one; a locked default may hide items. */
static int search_all(struct libsecret_job *job, SecretService *service, const char *kind, GList **ret) {
    cleanup(object) SecretCollection *collection = NULL;
    int r = open_default(job, service, &collection);
    if (r == 0 && secret_collection_get_locked(collection))
        return err_set(ERR_KEYRING, LIBSECRET_LOCKED);
    return r < 0 ? r : search(job, service, kind, ret);
}

static int do_remove(struct libsecret_job *job, SecretService *service) {
    cleanup(items) GList *items = NULL, *left = NULL;
    int r = search_all(job, service, job->kind, &items);
    if (r < 0)
        return r;
    if (!items)
        return KEYRING_NOTHING;
    cleanup(error) GError *error = NULL;
    for (GList *i = items; i; i = i->next) {
        g_clear_error(&error);
        (void)secret_item_delete_sync(i->data, job->cancel, &error);
    }
    /* What counts is what is there afterwards. */
    r = search_all(job, service, job->kind, &left);
    if (r == 0 && left)
        r = from_glib("The keyring did not remove the secret", error);
    return r;
}

static int do_list(struct libsecret_job *job, SecretService *service) {
    cleanup(items) GList *items = NULL;
    int r = search_all(job, service, NULL, &items);
    for (GList *i = items; r == 0 && i; i = i->next) {
        cleanup(table) GHashTable *attributes = secret_item_get_attributes(i->data);
        const char *kind = attributes ? g_hash_table_lookup(attributes, "kind") : NULL;
        r = keyring_kinds_add(&job->kinds, kind && strlen(kind) <= KEYRING_KIND_MAX ? kind : "unknown");
    }
    return r;
}

static int run_job(struct libsecret_job *job) {
    static int (*const ops[])(struct libsecret_job *, SecretService *) = {
        [OP_STATUS] = do_status, [OP_STORE] = do_store, [OP_LOAD] = do_load,
        [OP_REMOVE] = do_remove, [OP_LIST] = do_list,
    };
    cleanup(object) SecretService *service = NULL;
    int r = open_service(job, &service);
    return r < 0 ? r : ops[job->op](job, service);
}

static void unref_job(struct libsecret_job *job) {
    if (atomic_fetch_sub(&job->refs, 1) != 1)
        return;
    buf_finish(&job->secret);
    if (job->done >= 0)
        (void)close(job->done);
    g_object_unref(job->cancel);
    free(job);
}

static void *job_thread(void *arg) {
    struct libsecret_job *job = arg;
    GMainContext *context = g_main_context_new();
    g_main_context_push_thread_default(context);
    job->result = run_job(job);
    (void)snprintf(job->text, sizeof job->text, "%s", err_text());
    /* What GLib still has to hand out (a closed connection) is freed with its context. */
    while (g_main_context_iteration(context, FALSE))
        continue;
    g_main_context_pop_thread_default(context);
    g_main_context_unref(context);
    if (atomic_exchange(&job->state, STATE_DONE) == STATE_ABANDONED)
        (void)atomic_fetch_sub(&libsecret_abandoned, 1);
    (void)eventfd_write(job->done, 1);
    unref_job(job);
    return NULL;
}

static int start_thread(struct libsecret_job *job) {
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, before;
    (void)sigfillset(&all);
    if (pthread_attr_init(&attr) != 0)
        return err_set(ERR_SYSTEM, "cannot start a thread");
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    /* Signals are for the threads that wait for them, also in the threads GLib starts from here. */
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    atomic_store(&job->refs, 2);
    int code = pthread_create(&thread, &attr, job_thread, job);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attr);
    if (code == 0)
        return 0;
    atomic_store(&job->refs, 1);
    return err_set(ERR_SYSTEM, "cannot start a thread: %s", strerror(code));
}

/* The session bus as the session says, or where systemd puts it. Nothing is ever started for it. */
static int bus_address(char *out, size_t size) {
    const char *address = getenv("DBUS_SESSION_BUS_ADDRESS"), *runtime = getenv("XDG_RUNTIME_DIR");
    if (address && *address && !g_str_has_prefix(address, "autolaunch:")) {
        if ((size_t)snprintf(out, size, "%s", address) < size)
            return 0;
    } else if (runtime && runtime[0] == '/') {
        char path[PATH_MAX];
        struct stat st;
        int n = snprintf(path, sizeof path, "%s/bus", runtime);
        if (n > 0 && (size_t)n < sizeof path && stat(path, &st) == 0 && S_ISSOCK(st.st_mode) &&
            st.st_uid == geteuid()) {
            char *escaped = g_dbus_address_escape_value(path);
            bool fits = (size_t)snprintf(out, size, "unix:path=%s", escaped) < size;
            g_free(escaped);
            if (fits)
                return 0;
        }
    }
    return err_set(ERR_KEYRING,
                   "There is no session bus, so there is no keyring (DBUS_SESSION_BUS_ADDRESS is not "
                   "usable). Log in to a desktop session and try again.");
}

static int make_job(const struct keyring *k, enum libsecret_op op, const char *kind,
                    struct libsecret_job **ret) {
    struct libsecret_job *job = calloc(1, sizeof *job);
    if (!job) {
        (void)err_errno("cannot ask the keyring");
        return ERR_SYSTEM;
    }
    job->refs = 1;
    job->op = op;
    job->timeout_ms = k->timeout_ms;
    job->secret.secret = true;
    (void)snprintf(job->kind, sizeof job->kind, "%s", kind ? kind : "");
    job->cancel = g_cancellable_new();
    job->done = eventfd(0, EFD_CLOEXEC);
    int r =
        job->done < 0 ? err_errno("cannot ask the keyring") : bus_address(job->address, sizeof job->address);
    if (r == 0 && atomic_load(&libsecret_abandoned) >= LIBSECRET_ABANDONED_MAX)
        r = err_set(ERR_KEYRING, LIBSECRET_SILENT);
    if (r != 0) {
        unref_job(job);
        return r;
    }
    *ret = job;
    return 0;
}

static void job_cleanup(struct libsecret_job **job) {
    if (*job)
        unref_job(*job);
}

/* Runs the job; its result, and its error text made ours. The job's fields may be read only on success. */
static int wait_job(struct libsecret_job *job) {
    int64_t deadline = clock_boot_ms() + job->timeout_ms;
    int r = start_thread(job);
    if (r < 0)
        return r;
    struct pollfd pfd = {.fd = job->done, .events = POLLIN};
    while (poll(&pfd, 1, clock_left(deadline)) <= 0 && clock_boot_ms() < deadline)
        continue;
    (void)atomic_fetch_add(&libsecret_abandoned, 1);
    int running = STATE_RUNNING;
    if (atomic_compare_exchange_strong(&job->state, &running, STATE_ABANDONED)) {
        g_cancellable_cancel(job->cancel);
        return err_set(ERR_KEYRING, LIBSECRET_SILENT);
    }
    (void)atomic_fetch_sub(&libsecret_abandoned, 1);
    return job->result < 0 ? err_set(job->result, "%s", job->text) : job->result;
}

static int libsecret_status(struct keyring *k, struct keyring_status *ret) {
    cleanup(job) struct libsecret_job *job = NULL;
    int r = make_job(k, OP_STATUS, NULL, &job);
    if (r == 0)
        r = wait_job(job);
    if (r == 0)
        *ret = job->status;
    return r;
}

static int libsecret_store(struct keyring *k, const char *kind, const char *label, const void *secret,
                           size_t n) {
    cleanup(job) struct libsecret_job *job = NULL;
    int r = make_job(k, OP_STORE, kind, &job);
    if (r != 0)
        return r;
    (void)snprintf(job->label, sizeof job->label, "%s", label);
    char *text = encode_base64url(secret, n);
    if (!text)
        return err_errno("cannot store the %s", kind);
    r = buf_add_str(&job->secret, text);
    explicit_bzero(text, strlen(text));
    free(text);
    return r < 0 ? r : wait_job(job);
}

static int libsecret_load(struct keyring *k, const char *kind, struct buf *ret) {
    cleanup(job) struct libsecret_job *job = NULL;
    int r = make_job(k, OP_LOAD, kind, &job);
    if (r == 0)
        r = wait_job(job);
    return r != 0 ? r : buf_add(ret, job->secret.data, job->secret.len);
}

static int libsecret_remove(struct keyring *k, const char *kind) {
    cleanup(job) struct libsecret_job *job = NULL;
    int r = make_job(k, OP_REMOVE, kind, &job);
    return r != 0 ? r : wait_job(job);
}

static int libsecret_list(struct keyring *k, struct keyring_kinds *ret) {
    cleanup(job) struct libsecret_job *job = NULL;
    int r = make_job(k, OP_LIST, NULL, &job);
    if (r == 0)
        r = wait_job(job);
    if (r == 0)
        *ret = job->kinds;
    return r;
}

static const struct keyring_driver keyring_libsecret = {
    .name = "libsecret",
    .status = libsecret_status,
    .store = libsecret_store,
    .load = libsecret_load,
    .remove = libsecret_remove,
    .list = libsecret_list,
};

void keyring_libsecret_init(struct keyring *k) {
    *k = (struct keyring){.driver = &keyring_libsecret, .timeout_ms = KEYRING_TIMEOUT_MS};
}
