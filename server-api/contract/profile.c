#include "server-api/contract/profile.h"
#include "platform/base/buf.h"
#include "platform/base/err.h"
#include "platform/base/json.h"
#include "platform/base/utf8.h"
#include "server-api/contract/cert.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct profile_rule;
typedef void profile_test(const char *pointer, const cJSON *value, struct profile_problems *problems);

/* What a member of a profile may be. `words` (space-separated) restricts strings; `test` looks closer. */
struct profile_rule {
    const char *pointer;
    int type; /* cJSON_Object, cJSON_String, cJSON_Number, cJSON_Array (of strings) */
    bool required;
    int64_t least, most; /* numbers: range; strings: bytes; arrays: members */
    const char *words;
    profile_test *test;
};

static profile_test profile_test_text, profile_test_host, profile_test_ca, profile_test_protocol,
    profile_test_security, profile_test_authentication, profile_test_template, profile_test_id;

/* Versions only go up: a typing error must leave room above it, and stay exact in JSON. */
#define PROFILE_VERSION_MAX INT64_C(2147483647)

static const struct profile_rule profile_rules[] = {
    {"", cJSON_Object, true, 0, 0, NULL, NULL},
    {"/type", cJSON_String, true, 1, 32, "profile", NULL},
    {"/id", cJSON_String, true, 1, 64, NULL, profile_test_id},
    {"/version", cJSON_Number, true, 1, PROFILE_VERSION_MAX, NULL, NULL},
    {"/critical", cJSON_Array, false, 0, 32, NULL, NULL},
    {"/organization", cJSON_Object, true, 0, 0, NULL, NULL},
    {"/organization/name", cJSON_String, true, 1, 128, NULL, profile_test_text},
    {"/organization/support", cJSON_String, false, 1, 254, NULL, profile_test_text},
    {"/account", cJSON_Object, true, 0, 0, NULL, NULL},
    {"/account/id", cJSON_String, true, 1, 64, NULL, profile_test_id},
    {"/account/address", cJSON_String, true, 1, 254, NULL, profile_test_template},
    {"/account/name", cJSON_String, true, 1, 254, NULL, profile_test_template},
    {"/account/login", cJSON_String, true, 1, 254, NULL, profile_test_template},
    {"/account/incoming", cJSON_Object, true, 0, 0, NULL, NULL},
    {"/account/incoming/protocol", cJSON_String, true, 1, 16, NULL, profile_test_protocol},
    {"/account/incoming/host", cJSON_String, true, 1, 253, NULL, profile_test_host},
    {"/account/incoming/port", cJSON_Number, true, 1, 65535, NULL, NULL},
    {"/account/incoming/security", cJSON_String, true, 1, 16, NULL, profile_test_security},
    {"/account/incoming/ca", cJSON_String, false, 1, 65536, NULL, profile_test_ca},
    {"/account/outgoing", cJSON_Object, false, 0, 0, NULL, NULL},
    {"/account/outgoing/protocol", cJSON_String, true, 1, 16, "smtp", NULL},
    {"/account/outgoing/host", cJSON_String, true, 1, 253, NULL, profile_test_host},
    {"/account/outgoing/port", cJSON_Number, true, 1, 65535, NULL, NULL},
    {"/account/outgoing/security", cJSON_String, true, 1, 16, NULL, profile_test_security},
    {"/account/outgoing/ca", cJSON_String, false, 1, 65536, NULL, profile_test_ca},
    {"/account/authentication", cJSON_String, true, 1, 16, NULL, profile_test_authentication},
    {"/cache", cJSON_Object, false, 0, 0, NULL, NULL},
    {"/cache/keep_days", cJSON_Number, false, 0, 36500, NULL, NULL},
    {"/cache/encryption", cJSON_String, false, 1, 16, "required preferred", NULL},
    {"/clients", cJSON_Array, false, 0, 32, "thunderbird evolution claws-mail geary gnumail mutt neomutt",
     NULL},
    {"/policy", cJSON_Object, false, 0, 0, NULL, NULL},
    {"/policy/check_in_seconds", cJSON_Number, false, 1, 86400, NULL, NULL},
    {"/policy/offline_lock_days", cJSON_Number, false, 0, 3650, NULL, NULL},
    {"/policy/offline_wipe_days", cJSON_Number, false, 0, 3650, NULL, NULL},
};

#define PROFILE_RULES (sizeof profile_rules / sizeof *profile_rules)

void profile_problem_add(struct profile_problems *problems, const char *pointer, const char *fmt, ...) {
    if (problems->n == PROFILE_PROBLEMS_MAX)
        return;
    struct profile_problem *p = &problems->items[problems->n++];
    (void)snprintf(p->pointer, sizeof p->pointer, "%s", pointer);
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(p->text, sizeof p->text, fmt, ap);
    va_end(ap);
}

static void profile_test_text(const char *pointer, const cJSON *value, struct profile_problems *problems) {
    uint32_t code = 0;
    size_t n = 1;
    for (const unsigned char *p = (const unsigned char *)value->valuestring; *p && n; p += n) {
        n = utf8_sequence(p, &code);
        if (n == 0 || utf8_is_control(code)) {
            profile_problem_add(problems, pointer, "control characters are not allowed");
            return;
        }
    }
}

static void profile_test_id(const char *pointer, const cJSON *value, struct profile_problems *problems) {
    const char *text = value->valuestring;
    if (text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-")])
        profile_problem_add(problems, pointer, "only a-z, 0-9 and - are allowed");
}

static void profile_test_host(const char *pointer, const cJSON *value, struct profile_problems *problems) {
    const char *text = value->valuestring;
    bool name = !text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.")];
    bool ipv6 = strchr(text, ':') && !text[strspn(text, "0123456789abcdefABCDEF:.")];
    if ((!name && !ipv6) || text[0] == '.' || text[0] == '-' || strstr(text, ".."))
        profile_problem_add(problems, pointer, "must be a host name or an address, without port or path");
}

static void profile_test_protocol(const char *pointer, const cJSON *value,
                                  struct profile_problems *problems) {
    if (strncasecmp(value->valuestring, "pop", 3) == 0)
        profile_problem_add(
            problems, pointer,
            "POP is not allowed: it moves mail off the server and strands it on devices; use \"imap\"");
    else if (strcmp(value->valuestring, "imap") != 0)
        profile_problem_add(problems, pointer, "must be \"imap\"");
}

static void profile_test_security(const char *pointer, const cJSON *value,
                                  struct profile_problems *problems) {
    if (strcmp(value->valuestring, "tls") != 0 && strcmp(value->valuestring, "starttls") != 0)
        profile_problem_add(problems, pointer,
                            "a connection without TLS is not allowed: use \"tls\" or \"starttls\"");
}

static void profile_test_authentication(const char *pointer, const cJSON *value,
                                        struct profile_problems *problems) {
    const char *text = value->valuestring;
    if (strcmp(text, "issued") == 0 || strcmp(text, "oauth2") == 0)
        profile_problem_add(problems, pointer, "\"%s\" is not available in this version; use \"password\"",
                            text);
    else if (strcmp(text, "password") != 0)
        profile_problem_add(problems, pointer, "must be \"password\"");
}

/* Certificates and nothing else: what an admin pastes behind one, a private key say, would go to every
 * device. */
static void profile_test_ca(const char *pointer, const cJSON *value, struct profile_problems *problems) {
    static const char begin[] = "-----BEGIN CERTIFICATE-----", end[] = "-----END CERTIFICATE-----";
    const char *at = value->valuestring;
    do {
        at += strspn(at, " \t\r\n");
        const char *last = strncmp(at, begin, strlen(begin)) == 0 ? strstr(at, end) : NULL;
        X509 *cert = last ? cert_from_pem(at, (size_t)(last - at) + strlen(end)) : NULL;
        if (!cert) {
            profile_problem_add(problems, pointer, "must be PEM certificates and nothing else");
            return;
        }
        X509_free(cert);
        at = last + strlen(end);
        at += strspn(at, " \t\r\n");
    } while (*at);
}

static const char *const profile_placeholders[] = {"{user.login}", "{user.address}", "{user.name}"};

/* Index of the placeholder that `text` begins with, or -1. */
static int profile_placeholder(const char *text) {
    for (int i = 0; i < 3; i++)
        if (strncmp(text, profile_placeholders[i], strlen(profile_placeholders[i])) == 0)
            return i;
    return -1;
}

static void profile_test_template(const char *pointer, const cJSON *value,
                                  struct profile_problems *problems) {
    profile_test_text(pointer, value, problems);
    for (const char *p = strchr(value->valuestring, '{'); p; p = strchr(p + 1, '{'))
        if (profile_placeholder(p) < 0)
            profile_problem_add(
                problems, pointer,
                "unknown placeholder; there are {user.login}, {user.address} and {user.name}");
}

static bool profile_word(const char *words, const char *text) {
    size_t n = strlen(text);
    for (const char *p = words; n && (p = strstr(p, text)); p += n)
        if ((p == words || p[-1] == ' ') && (p[n] == ' ' || !p[n]))
            return true;
    return false;
}

static void profile_check_array(const struct profile_rule *rule, const cJSON *value,
                                enum profile_check_mode mode, struct profile_problems *problems) {
    if (cJSON_GetArraySize(value) > rule->most)
        profile_problem_add(problems, rule->pointer, "at most %lld members", (long long)rule->most);
    int i = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, value) {
        char pointer[160];
        (void)snprintf(pointer, sizeof pointer, "%s/%d", rule->pointer, i++);
        if (!cJSON_IsString(item))
            profile_problem_add(problems, pointer, "must be a string");
        else if (mode == PROFILE_PUBLISHED && rule->words && !profile_word(rule->words, item->valuestring))
            profile_problem_add(problems, pointer, "must be one of: %s", rule->words);
    }
}

static void profile_check_value(const struct profile_rule *rule, const cJSON *value,
                                enum profile_check_mode mode, struct profile_problems *problems) {
    static const struct {
        int type;
        const char *name;
    } names[] = {{cJSON_Object, "an object"},
                 {cJSON_String, "a string"},
                 {cJSON_Number, "a number"},
                 {cJSON_Array, "an array"}};
    if ((value->type & 0xff) != rule->type) {
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            if (names[i].type == rule->type)
                profile_problem_add(problems, rule->pointer, "must be %s", names[i].name);
        return;
    }
    if (rule->type == cJSON_Number) {
        double v = value->valuedouble;
        if (!(v >= (double)rule->least && v <= (double)rule->most) || v != (double)(int64_t)v)
            profile_problem_add(problems, rule->pointer, "must be a whole number from %lld to %lld",
                                (long long)rule->least, (long long)rule->most);
    } else if (rule->type == cJSON_Array) {
        profile_check_array(rule, value, mode, problems);
    } else if (rule->type == cJSON_String) {
        size_t n = strlen(value->valuestring);
        if (n < (size_t)rule->least || n > (size_t)rule->most)
            profile_problem_add(problems, rule->pointer, "must have %lld to %lld bytes",
                                (long long)rule->least, (long long)rule->most);
        else if (!utf8_valid(value->valuestring))
            profile_problem_add(problems, rule->pointer, "must be UTF-8");
        else if (rule->words && !profile_word(rule->words, value->valuestring))
            profile_problem_add(problems, rule->pointer, "must be one of: %s", rule->words);
        else if (rule->test)
            rule->test(rule->pointer, value, problems);
    }
}

/* The value a rule speaks of, NULL where it is absent; *ret_parent tells whether its object is there at all.
 */
static const cJSON *profile_at(const cJSON *profile, const char *pointer, bool *ret_parent) {
    const cJSON *at = profile;
    *ret_parent = true;
    while (at && *pointer) {
        char key[64];
        size_t n = strcspn(++pointer, "/");
        (void)snprintf(key, sizeof key, "%.*s", (int)n, pointer);
        pointer += n;
        *ret_parent = cJSON_IsObject(at);
        at = *ret_parent ? cJSON_GetObjectItemCaseSensitive(at, key) : NULL;
        if (!at && *pointer)
            *ret_parent = false;
    }
    return at;
}

static bool profile_known(const char *pointer) {
    for (size_t i = 0; i < PROFILE_RULES; i++)
        if (strcmp(profile_rules[i].pointer, pointer) == 0)
            return true;
    return false;
}

/* The keys that no rule names, below the objects that a rule names. */
static void profile_check_unknown(const cJSON *object, const char *pointer,
                                  struct profile_problems *problems) {
    const cJSON *m;
    cJSON_ArrayForEach(m, object) {
        struct buf at = {.max = 4096};
        int r = buf_printf(&at, "%s/", pointer);
        for (const char *p = m->string; r == 0 && *p; p++)
            r = *p == '~' ? buf_add_str(&at, "~0") : *p == '/' ? buf_add_str(&at, "~1") : buf_add(&at, p, 1);
        if (r < 0)
            profile_problem_add(problems, pointer, "a key that is too long");
        else if (!profile_known(at.data))
            profile_problem_add(problems, at.data, "unknown key");
        else if (cJSON_IsObject(m))
            profile_check_unknown(m, at.data, problems);
        buf_finish(&at);
    }
}

/* "critical" lists JSON pointers (or names of top-level keys) that the reader must understand. */
static void profile_check_critical(const cJSON *profile, struct profile_problems *problems) {
    const cJSON *critical = json_array(profile, "critical"), *item;
    int i = 0;
    cJSON_ArrayForEach(item, critical) {
        char pointer[32], named[160];
        (void)snprintf(pointer, sizeof pointer, "/critical/%d", i++);
        if (!cJSON_IsString(item))
            continue;
        (void)snprintf(named, sizeof named, "%s%s", item->valuestring[0] == '/' ? "" : "/",
                       item->valuestring);
        if (!profile_known(named))
            profile_problem_add(problems, pointer, "the critical key %.100s is not known to this version",
                                named);
    }
}

int profile_check(const cJSON *profile, enum profile_check_mode mode, struct profile_problems *ret) {
    struct profile_problems problems = {0};
    for (size_t i = 0; i < PROFILE_RULES; i++) {
        const struct profile_rule *rule = &profile_rules[i];
        bool parent;
        const cJSON *value = profile_at(profile, rule->pointer, &parent);
        if (value)
            profile_check_value(rule, value, mode, &problems);
        else if (rule->required && parent)
            profile_problem_add(&problems, rule->pointer, "is missing");
    }
    if (mode == PROFILE_PUBLISHED && cJSON_IsObject(profile))
        profile_check_unknown(profile, "", &problems);
    profile_check_critical(profile, &problems);
    *ret = problems;
    if (problems.n == 0)
        return 0;
    return err_set(ERR_REFUSED, "%s: %s",
                   problems.items[0].pointer[0] ? problems.items[0].pointer : "the profile",
                   problems.items[0].text);
}

char *profile_expand(const char *text, const struct profile_user *user) {
    const char *const values[] = {user->login, user->address, user->name};
    struct buf out = {.max = 65536};
    int r = buf_add(&out, "", 0);
    for (const char *p = text; r == 0 && *p;) {
        int i = profile_placeholder(p);
        r = i >= 0 ? buf_add_str(&out, values[i]) : buf_add(&out, p, 1);
        p += i >= 0 ? strlen(profile_placeholders[i]) : 1;
    }
    if (r == 0)
        return buf_steal(&out);
    buf_finish(&out);
    return NULL;
}

cJSON *profile_for_user(const cJSON *profile, const struct profile_user *user) {
    cJSON *copy = cJSON_Duplicate(profile, true);
    cJSON *account = cJSON_GetObjectItemCaseSensitive(copy, "account");
    for (cJSON *m = account ? account->child : NULL; m; m = m->next) {
        if (!cJSON_IsString(m))
            continue;
        char *text = profile_expand(m->valuestring, user);
        bool ok = text && cJSON_SetValuestring(m, text);
        free(text);
        if (!ok) {
            cJSON_Delete(copy);
            (void)err_set(ERR_SYSTEM, "out of memory");
            return NULL;
        }
    }
    return copy;
}

int64_t profile_version(const cJSON *profile) {
    return json_int(profile, "version", 0);
}

const char *profile_id(const cJSON *profile) {
    return json_str(profile, "id");
}

const cJSON *profile_incoming(const cJSON *profile) {
    return json_object(json_object(profile, "account"), "incoming");
}

int64_t profile_check_in_seconds(const cJSON *profile) {
    return json_int(json_object(profile, "policy"), "check_in_seconds", 900);
}

int64_t profile_keep_days(const cJSON *profile) {
    return json_int(json_object(profile, "cache"), "keep_days", 0);
}

int64_t profile_offline_lock_days(const cJSON *profile) {
    return json_int(json_object(profile, "policy"), "offline_lock_days", 0);
}

int64_t profile_offline_wipe_days(const cJSON *profile) {
    return json_int(json_object(profile, "policy"), "offline_wipe_days", 0);
}
