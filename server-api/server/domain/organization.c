#include "server-api/server/domain/organization.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/base/file.h"
#include "platform/base/json.h"
#include "platform/base/log.h"
#include "server-api/contract/link.h"
#include "server-api/contract/stamp.h"
#include "server-api/contract/trust.h"
#include "server-api/server/domain/ca.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define FILE_MAX ((size_t)256 << 10)
#define CERTIFICATE_SECONDS (INT64_C(365) * 86400)
#define TLS_RENEW_MS (INT64_C(365) * 86400 * 1000)
#define STAMP_MS 1000

static const char *const organization_files[] = {"server.json", "tls.pem", "trust.json", "ca.pem", "keys"};

/* HOST of https://HOST[:PORT] without brackets, and the port as text. */
static int organization_split(const char *url, char *ret_host, size_t size, char ret_port[8]) {
    int r = link_check_base(url);
    if (r < 0)
        return err_set(ERR_USAGE, "--public-url: %s", err_text());
    const char *host = url + strlen("https://");
    size_t n = *host == '[' ? strcspn(++host, "]") : strcspn(host, ":");
    const char *rest = host + n + (host[n] == ']' ? 1 : 0);
    (void)snprintf(ret_host, size, "%.*s", (int)n, host);
    (void)snprintf(ret_port, 8, "%s", *rest == ':' ? rest + 1 : "443");
    return 0;
}

static int organization_text_ok(const char *text, size_t max) {
    size_t n = text ? strlen(text) : 0;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
            return 0;
    return n > 0 && n <= max;
}

static int organization_make_dir(const char *path, int *ret_fd) {
    char absolute[PATH_MAX], here[PATH_MAX];
    if (path[0] != '/' && !getcwd(here, sizeof here))
        return err_errno("cannot name the present directory");
    if ((size_t)snprintf(absolute, sizeof absolute, "%s%s%s", path[0] == '/' ? "" : here,
                         path[0] == '/' ? "" : "/", path) >= sizeof absolute)
        return err_set(ERR_USAGE, "%s is too long", path);
    for (size_t n = strlen(absolute); n > 1 && absolute[n - 1] == '/'; n--)
        absolute[n - 1] = '\0';
    cleanup(fd) int fd = -1;
    int r = file_make_dirs(absolute, 0700, &fd);
    if (r < 0)
        return r;
    DIR *stream = fdopendir(openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!stream)
        return err_errno("cannot list %s", path);
    const struct dirent *entry;
    bool empty = true;
    while ((entry = readdir(stream)))
        empty = empty && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0);
    (void)closedir(stream);
    if (!empty)
        return err_set(ERR_REFUSED, "%s is not empty; name a new directory", path);
    if (fchmod(fd, 0700) < 0 || mkdirat(fd, "keys", 0700) < 0)
        return err_errno("cannot prepare %s", path);
    *ret_fd = steal_fd(&fd);
    return 0;
}

static int organization_write_key(int dir, const char *name, EVP_PKEY *key) {
    cleanup(buf) struct buf pem = {.secret = true};
    int r = key_private_pem(key, &pem);
    return r < 0 ? r : file_write_atomic(dir, name, pem.data, pem.len, 0600);
}

static int organization_write_json(int dir, const char *name, const cJSON *json) {
    cleanup(free) char *text = json ? cJSON_Print(json) : NULL;
    if (!text)
        return err_set(ERR_SYSTEM, "cannot write %s", name);
    return file_write_atomic(dir, name, text, strlen(text), 0600);
}

/* tls.pem: the leaf and the root, so that a device finds the key it pinned in the chain. */
static int organization_write_tls(int dir, X509 *root, EVP_PKEY *root_key, EVP_PKEY *tls_key,
                                  const char *host) {
    cleanup(buf) struct buf pem = {0};
    cleanup(X509) X509 *leaf = ca_server(root, root_key, tls_key, host);
    int r = leaf ? cert_pem(leaf, &pem) : ERR_INVALID;
    if (r == 0)
        r = cert_pem(root, &pem);
    return r < 0 ? r : file_write_atomic(dir, "tls.pem", pem.data, pem.len, 0600);
}

static int organization_write_trust(int dir, EVP_PKEY *root_key, EVP_PKEY *signing_key, const char *name) {
    cleanup(cJSON) cJSON *payload = trust_make(1, name, signing_key);
    cleanup(cJSON) cJSON *jws = payload ? jws_sign(payload, JWS_TYPE_TRUST, &root_key, 1) : NULL;
    return jws ? organization_write_json(dir, "trust.json", jws) : ERR_SYSTEM;
}

static int organization_write_keys(int dir, const struct organization_settings *s, const char *host) {
    cleanup(EVP_PKEY) EVP_PKEY *root_key = key_generate();
    cleanup(EVP_PKEY) EVP_PKEY *signing_key = key_generate();
    cleanup(EVP_PKEY) EVP_PKEY *tls_key = key_generate();
    cleanup(EVP_PKEY) EVP_PKEY *admin_key = key_generate();
    if (!root_key || !signing_key || !tls_key || !admin_key)
        return ERR_SYSTEM;
    cleanup(X509) X509 *root = ca_root(root_key, s->name);
    cleanup(buf) struct buf pem = {0};
    int r = root ? cert_pem(root, &pem) : ERR_SYSTEM;
    if (r == 0)
        r = organization_write_key(dir, "keys/root.pem", root_key);
    if (r == 0)
        r = organization_write_key(dir, "keys/signing.pem", signing_key);
    if (r == 0)
        r = organization_write_key(dir, "keys/tls.pem", tls_key);
    if (r == 0)
        r = organization_write_key(dir, "keys/admin.pem", admin_key);
    if (r == 0)
        r = file_write_atomic(dir, "ca.pem", pem.data, pem.len, 0644);
    if (r == 0)
        r = organization_write_trust(dir, root_key, signing_key, s->name);
    return r < 0 ? r : organization_write_tls(dir, root, root_key, tls_key, host);
}

static int organization_write_settings(int dir, const struct organization_settings *s, const char *port) {
    char listen[ORGANIZATION_LISTEN_MAX];
    (void)snprintf(listen, sizeof listen, "0.0.0.0:%s", port);
    cleanup(cJSON) cJSON *json = cJSON_CreateObject();
    if (!json || json_add_str(json, "organization", s->name) < 0 ||
        json_add_str(json, "domain", s->domain) < 0 || json_add_str(json, "public_url", s->public_url) < 0 ||
        json_add_str(json, "listen", s->listen ? s->listen : listen) < 0 ||
        json_add_str(json, "admin_listen", s->admin_listen ? s->admin_listen : "127.0.0.1:8444") < 0 ||
        json_add_str(json, "store", "sqlite:satchel.db") < 0 ||
        json_add_int(json, "device_certificate_seconds",
                     s->certificate_days ? s->certificate_days * 86400 : CERTIFICATE_SECONDS) < 0)
        return err_set(ERR_SYSTEM, "out of memory");
    return organization_write_json(dir, "server.json", json);
}

int organization_init(const char *path, const struct organization_settings *s) {
    char host[256], port[8];
    if (!organization_text_ok(s->name, ORGANIZATION_NAME_MAX))
        return err_set(ERR_USAGE, "--organization must have 1 to %d bytes and no control characters",
                       ORGANIZATION_NAME_MAX);
    if (!organization_text_ok(s->domain, 253) ||
        s->domain[strspn(s->domain, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.")])
        return err_set(ERR_USAGE, "--domain must be a domain name");
    int r = organization_split(s->public_url, host, sizeof host, port);
    if (r < 0)
        return r;
    cleanup(fd) int dir = -1;
    r = organization_make_dir(path, &dir);
    if (r < 0)
        return r;
    r = organization_write_keys(dir, s, host);
    if (r == 0)
        r = organization_write_settings(dir, s, port);
    if (r < 0) {
        char text[512];
        (void)snprintf(text, sizeof text, "%s", err_text());
        for (size_t i = 0; i < sizeof organization_files / sizeof *organization_files; i++)
            (void)file_remove_tree(dir, organization_files[i], NULL);
        (void)err_set(r, "%s", text);
    }
    return r;
}

static EVP_PKEY *organization_read_key(int dir, const char *name, char **ret_pem) {
    cleanup(buf) struct buf pem = {.secret = true};
    if (file_read(dir, name, FILE_MAX, &pem) < 0)
        return NULL;
    EVP_PKEY *key = key_from_private_pem(pem.data ? pem.data : "", pem.len);
    if (!key)
        (void)err_context(ERR_INVALID, "%s", name);
    else if (ret_pem)
        *ret_pem = buf_steal(&pem);
    return key;
}

static int organization_setting(const cJSON *json, const char *key, char *ret, size_t size) {
    const char *text;
    int r = json_need_str(json, key, size - 1, &text);
    if (r < 0)
        return err_context(r, "server.json");
    (void)snprintf(ret, size, "%s", text);
    return 0;
}

static int organization_read_settings(struct organization *o, const char *path) {
    char store[PATH_MAX / 2] = "";
    cleanup(buf) struct buf text = {0};
    cleanup(cJSON) cJSON *json = NULL;
    int r = file_read(o->dir, "server.json", FILE_MAX, &text);
    if (r == ERR_NOT_FOUND)
        return err_set(ERR_NOT_FOUND,
                       "%s is not the directory of a server; make one with satchel-server init", path);
    if (r == 0)
        r = json_parse(text.data ? text.data : "", text.len, &json);
    if (r < 0)
        return err_context(r, "server.json");
    if ((r = organization_setting(json, "organization", o->name, sizeof o->name)) < 0 ||
        (r = organization_setting(json, "domain", o->domain, sizeof o->domain)) < 0 ||
        (r = organization_setting(json, "public_url", o->public_url, sizeof o->public_url)) < 0 ||
        (r = organization_setting(json, "listen", o->listen, sizeof o->listen)) < 0 ||
        (r = organization_setting(json, "admin_listen", o->admin_listen, sizeof o->admin_listen)) < 0 ||
        (r = organization_setting(json, "store", store, sizeof store)) < 0 ||
        (r = json_need_int(json, "device_certificate_seconds", 1,
                           INT64_C(86400) * ORGANIZATION_CERTIFICATE_DAYS_MAX,
                           &o->device_certificate_seconds)) < 0)
        return r;
    const char *where = strncmp(store, "sqlite:", 7) == 0 ? store + 7 : NULL;
    bool relative = where && where[0] != '/';
    if (asprintf(&o->store_url, "%s%s%s%s", relative ? "sqlite:" : "", relative ? path : "",
                 relative ? "/" : "", relative ? where : store) < 0)
        return err_errno("cannot read server.json");
    return 0;
}

static int organization_read_trust(struct organization *o) {
    cleanup(buf) struct buf text = {0};
    cleanup(cJSON) cJSON *jws = NULL;
    struct trust trust = {0};
    int r = file_read(o->dir, "trust.json", FILE_MAX, &text);
    if (r == 0)
        r = json_parse(text.data ? text.data : "", text.len, &jws);
    if (r == 0)
        r = trust_open(jws, o->root_key, &trust);
    if (r < 0)
        return err_context(r, "trust.json");
    o->trust_version = trust.version;
    trust_finish(&trust);
    o->trust = json_print(jws);
    return o->trust ? 0 : err_set(ERR_SYSTEM, "out of memory");
}

static int organization_read_root(struct organization *o) {
    cleanup(buf) struct buf pem = {0};
    char fingerprint[KEY_FINGERPRINT_SIZE];
    int r = file_read(o->dir, "ca.pem", FILE_MAX, &pem);
    if (r < 0)
        return r;
    o->root = cert_from_pem(pem.data ? pem.data : "", pem.len);
    o->root_key = organization_read_key(o->dir, "keys/root.pem", NULL);
    if (!o->root || !o->root_key)
        return ERR_INVALID;
    o->root_pem = buf_steal(&pem);
    r = key_fingerprint(o->root_key, o->fingerprint);
    if (r == 0)
        r = cert_key_fingerprint(o->root, fingerprint);
    if (r == 0 && strcmp(fingerprint, o->fingerprint) != 0)
        r = err_set(ERR_INVALID, "ca.pem and keys/root.pem do not belong together");
    return r;
}

/* Reads the TLS pair; where the certificate is missing or half spent, a new one is made first. */
static int organization_read_tls(struct organization *o) {
    char host[256], port[8];
    cleanup(EVP_PKEY) EVP_PKEY *key = organization_read_key(o->dir, "keys/tls.pem", &o->tls_key_pem);
    int r = key ? organization_split(o->public_url, host, sizeof host, port) : ERR_INVALID;
    if (r < 0)
        return r;
    cleanup(buf) struct buf pem = {0};
    r = file_read(o->dir, "tls.pem", FILE_MAX, &pem);
    cleanup(X509) X509 *leaf = r == 0 ? cert_from_pem(pem.data ? pem.data : "", pem.len) : NULL;
    if (!leaf || cert_not_after(leaf) - clock_real_ms() < TLS_RENEW_MS) {
        log_info("making a new TLS certificate for %s", host);
        r = organization_write_tls(o->dir, o->root, o->root_key, key, host);
        buf_clear(&pem);
        if (r == 0)
            r = file_read(o->dir, "tls.pem", FILE_MAX, &pem);
        if (r < 0)
            return r;
    }
    o->tls_chain_pem = buf_steal(&pem);
    return 0;
}

int organization_open(const char *path, struct organization **ret) {
    cleanup(organization) struct organization *o = calloc(1, sizeof *o);
    if (!o)
        return err_errno("cannot open %s", path);
    (void)pthread_mutex_init(&o->lock, NULL);
    o->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (o->dir < 0)
        return err_errno("cannot open %s", path);
    if (flock(o->dir, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? err_set(ERR_WRONG_STATE, "another satchel-server serves %s", path)
                                    : err_errno("cannot lock %s", path);
    int r = organization_read_settings(o, path);
    if (r == 0)
        r = organization_read_root(o);
    if (r == 0)
        r = organization_read_trust(o);
    if (r == 0)
        r = organization_read_tls(o);
    if (r < 0)
        return r;
    o->signing_key = organization_read_key(o->dir, "keys/signing.pem", NULL);
    o->admin_key = organization_read_key(o->dir, "keys/admin.pem", NULL);
    if (!o->signing_key || !o->admin_key)
        return ERR_INVALID;
    *ret = steal(o);
    return 0;
}

void organization_close(struct organization *o) {
    if (!o)
        return;
    if (o->tls_key_pem)
        explicit_bzero(o->tls_key_pem, strlen(o->tls_key_pem));
    free(o->tls_key_pem);
    free(o->tls_chain_pem);
    free(o->trust);
    free(o->stamp);
    free(o->root_pem);
    free(o->store_url);
    X509_free(o->root);
    EVP_PKEY_free(o->root_key);
    EVP_PKEY_free(o->signing_key);
    EVP_PKEY_free(o->admin_key);
    if (o->dir >= 0)
        (void)close(o->dir);
    (void)pthread_mutex_destroy(&o->lock);
    free(o);
}

int organization_issue(struct organization *o, EVP_PKEY *key, const char *device, struct buf *ret_pem,
                       char ret_digest[65], int64_t *ret_expires_at) {
    (void)pthread_mutex_lock(&o->lock);
    cleanup(X509) X509 *cert =
        ca_device(o->root, o->root_key, key, o->name, device, o->device_certificate_seconds);
    (void)pthread_mutex_unlock(&o->lock);
    if (!cert)
        return ERR_SYSTEM;
    cleanup(free) char *digest = cert_digest(cert);
    int r = digest ? cert_pem(cert, ret_pem) : ERR_SYSTEM;
    if (r < 0)
        return r;
    (void)snprintf(ret_digest, 65, "%s", digest);
    *ret_expires_at = cert_not_after(cert);
    return 0;
}

char *organization_sign(struct organization *o, const cJSON *payload, const char *type) {
    (void)pthread_mutex_lock(&o->lock);
    cleanup(cJSON) cJSON *jws = jws_sign(payload, type, &o->signing_key, 1);
    (void)pthread_mutex_unlock(&o->lock);
    return jws ? json_print(jws) : NULL;
}

/* Not one for each answer: a published profile wakes every device at once. */
char *organization_stamp(struct organization *o) {
    (void)pthread_mutex_lock(&o->lock);
    if (!o->stamp || clock_boot_ms() >= o->stamp_until) {
        char *stamp = stamp_make(clock_real_ms(), o->signing_key);
        if (stamp) {
            free(o->stamp);
            o->stamp = stamp;
            o->stamp_until = clock_boot_ms() + STAMP_MS;
        }
    }
    char *copy = o->stamp ? strdup(o->stamp) : NULL;
    (void)pthread_mutex_unlock(&o->lock);
    return copy;
}

int organization_verify_admin(struct organization *o, const cJSON *jws, cJSON **ret_payload) {
    char kid[KEY_FINGERPRINT_SIZE];
    (void)pthread_mutex_lock(&o->lock);
    int r = key_fingerprint(o->admin_key, kid);
    if (r == 0)
        r = jws_verify(jws, JWS_TYPE_TOKEN, &(struct jws_key){.kid = kid, .key = o->admin_key}, 1, 1,
                       ret_payload);
    (void)pthread_mutex_unlock(&o->lock);
    return r;
}
