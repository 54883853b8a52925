#include "server-api/server/domain/audit.h"
#include "platform/base/clock.h"
#include "platform/base/encode.h"
#include "platform/base/err.h"
#include "platform/base/json.h"

#include <openssl/sha.h>
#include <stdbool.h>
#include <string.h>

#define AUDIT_PAGE 1000

/* The entry as canonical JSON: fixed members in a fixed order, no spaces. `detail` goes in as the text that
 * is stored, so that what is hashed is what is kept. */
static int audit_hash(const char *before, const struct store_audit *e, char ret[STORE_HASH_SIZE]) {
    cleanup(buf) struct buf text = {0};
    cleanup(cJSON) cJSON *names = cJSON_CreateObject();
    if (json_add_str(names, "actor", e->actor) < 0 || json_add_str(names, "action", e->action) < 0 ||
        json_add_str(names, "subject", e->subject) < 0)
        return ERR_SYSTEM;
    cleanup(free) char *who = json_print(names);
    if (!who)
        return err_set(ERR_SYSTEM, "out of memory");
    int r = buf_printf(&text, "%s{\"sequence\":%lld,\"at\":%lld,\"who\":%s,\"detail\":%s}", before,
                       (long long)e->sequence, (long long)e->at, who, e->detail);
    if (r < 0)
        return r;
    unsigned char digest[SHA256_DIGEST_LENGTH];
    (void)SHA256((const unsigned char *)text.data, text.len, digest);
    cleanup(free) char *hex = encode_hex(digest, sizeof digest);
    if (!hex)
        return err_set(ERR_SYSTEM, "out of memory");
    memcpy(ret, hex, STORE_HASH_SIZE);
    return 0;
}

cJSON *audit_detail(const char *key, const char *text) {
    cJSON *detail = cJSON_CreateObject();
    if (json_add_str(detail, key, text) == 0)
        return detail;
    cJSON_Delete(detail);
    return NULL;
}

int audit_add(struct store_tx *tx, const char *actor, const char *action, const char *subject,
              cJSON *detail) {
    cleanup(cJSON) cJSON *owned = detail ? detail : cJSON_CreateObject();
    cleanup(free) char *text = json_print(owned);
    if (!text)
        return err_set(ERR_SYSTEM, "out of memory");
    char before[STORE_HASH_SIZE], hash[STORE_HASH_SIZE];
    int64_t last;
    int r = store_audit_last(tx, &last, before);
    if (r < 0)
        return r;
    struct store_audit e = {.sequence = last + 1,
                            .at = clock_real_ms(),
                            .actor = actor,
                            .action = action,
                            .subject = subject,
                            .detail = text,
                            .hash = hash};
    r = audit_hash(before, &e, hash);
    return r < 0 ? r : store_audit_add(tx, &e);
}

static int audit_verify_entry(const struct store_audit *e, void *arg) {
    struct audit_verdict *v = arg;
    char hash[STORE_HASH_SIZE];
    v->entries++;
    int r = audit_hash(v->head, e, hash);
    if (r < 0)
        return r;
    if (e->sequence != v->entries || strcmp(hash, e->hash) != 0) {
        /* an entry that is missing breaks the chain where it should stand */
        v->broken = e->sequence > v->entries ? v->entries : e->sequence;
        return 1;
    }
    memcpy(v->head, hash, sizeof hash);
    return 0;
}

/* A page a snapshot: a long chain does not hold one open. */
static int audit_verify_page(struct store_tx *tx, void *arg) {
    struct audit_verdict *v = arg;
    return store_audit_each(tx, v->entries, AUDIT_PAGE, audit_verify_entry, v);
}

int audit_verify(struct store *s, struct audit_verdict *ret) {
    struct audit_verdict v = {0};
    for (;;) {
        int64_t before = v.entries;
        int r = store_read(s, audit_verify_page, &v);
        if (r < 0)
            return r;
        if (v.broken || v.entries == before)
            break;
    }
    *ret = v;
    return 0;
}
