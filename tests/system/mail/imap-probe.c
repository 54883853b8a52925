/*
 * The IMAP session layer on its own, for the tests here: reads one JSON object a line ({"op": "select",
 * "mailbox": "INBOX"}) from standard input, does it, and prints one line of what came of it and how the
 * session stands. "sleeps": n lets the machine sleep for an hour, n times, whenever the operation waits
 * ("idle" and "wait": for news, or after that). Descriptor 0 is what these two watch.
 */
#include "agent/mail/imap/session.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/base/json.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#define LINE_MAX_BYTES ((size_t)1 << 20)
#define CONNECT_MS 20000
#define PIECE 16384
#define LONGEST_MS 60000

static struct imap_session *session;
static cJSON *mailboxes; /* what on_mailbox was called with */

/* -- a machine that sleeps (the linker puts these in the place of clock_gettime and poll) ------------------
 */

static struct {
    int64_t times; /* it is still to sleep */
    bool for_news; /* only in a wait that has a deadline of its own */
    time_t slept;  /* seconds, so far */
} machine;

int __real_clock_gettime(clockid_t id, struct timespec *ts);
int __wrap_clock_gettime(clockid_t id, struct timespec *ts);
int __real_poll(struct pollfd *p, nfds_t n, int timeout);
int __wrap_poll(struct pollfd *p, nfds_t n, int timeout);

int __wrap_clock_gettime(clockid_t id, struct timespec *ts) {
    int r = __real_clock_gettime(id, ts);
    if (r == 0 && id == CLOCK_BOOTTIME)
        ts->tv_sec += machine.slept;
    return r;
}

int __wrap_poll(struct pollfd *p, nfds_t n, int timeout) {
    if (timeout < 0 || timeout > LONGEST_MS) /* else a sleep would show too late */
        abort();
    if (machine.times == 0 || !session || (machine.for_news && session->deadline == 0))
        return __real_poll(p, n, timeout);
    machine.times--;
    machine.slept += 3600;
    errno = EINTR;
    return -1;
}

/* -- printing ------------------------------------------------------------------------------------------- */

/* A response as text, nearly as the server wrote it. */
static void render(const struct imap_parser *p, uint32_t first, uint32_t end, struct buf *ret) {
    for (const struct imap_node *n; (n = imap_node_at(p, first, end)); first = n->end) {

        bool list = n->type == IMAP_LIST || n->type == IMAP_CODE;
        if (ret->len && !strchr("([", ret->data[ret->len - 1]))
            (void)buf_add_str(ret, " ");
        if (list) {
            (void)buf_add_str(ret, n->type == IMAP_LIST ? "(" : "[");
            render(p, first + 1, n->end, ret);
        }
        (void)(list ? buf_add_str(ret, n->type == IMAP_LIST ? ")" : "]")
                    : buf_add(ret, imap_node_text(p, n), n->len));
    }
}

static void add_response(cJSON *list, const struct imap_parser *p) {
    cleanup(buf) struct buf text = {0};
    render(p, 0, p->count, &text);
    cJSON_AddItemToArray(list, cJSON_CreateString(text.data ? text.data : ""));
}

static void on_mailbox(void *ctx, const struct imap_parser *p) {
    (void)ctx;
    add_response(mailboxes, p);
}

static cJSON *set_json(const struct uidset *set) {
    cJSON *list = cJSON_CreateArray();
    for (uint64_t i = 0; i < uidset_count(set) && i < 100; i++)
        cJSON_AddItemToArray(list, cJSON_CreateNumber(uidset_at(set, i)));
    return list;
}

static void add_state(cJSON *out) {
    const struct imap_session *s = session;
    cJSON *keywords = cJSON_AddArrayToObject(out, "keywords");
    for (size_t at = 0; at < s->keywords.len; at += strlen(s->keywords.data + at) + 1)
        cJSON_AddItemToArray(keywords, cJSON_CreateString(s->keywords.data + at));
    const struct {
        const char *key;
        int64_t value;
    } numbers[] = {{"capabilities", s->capabilities},
                   {"enabled", s->enabled},
                   {"sent", s->sent},
                   {"done", s->done},
                   {"open", imap_open_commands(s)},
                   {"result", s->result},
                   {"code", s->code},
                   {"backoff_ms", s->backoff_ms},
                   {"append_limit", (int64_t)s->append_limit},
                   {"exists", s->exists},
                   {"uidvalidity", s->uidvalidity},
                   {"uidnext", s->uidnext},
                   {"modseq", (int64_t)s->modseq},
                   {"permanent", s->permanent},
                   {"copied_uidvalidity", s->copied.uidvalidity},
                   {"copied_uid", s->copied.uid}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        (void)json_add_int(out, numbers[i].key, numbers[i].value);
    (void)json_add_bool(out, "changed", s->changed);
    (void)json_add_bool(out, "read_only", s->read_only);
    (void)json_add_bool(out, "no_modseq", s->no_modseq);
    (void)json_add_bool(out, "permanent_any", s->permanent_any);
    (void)json_add_str(out, "text", s->text);
    (void)json_add_item(out, "copied_from", set_json(&s->copied.from));
    (void)json_add_item(out, "copied_to", set_json(&s->copied.to));
}

static void answer(cJSON *out, int r) {
    (void)json_add_int(out, "r", r);
    if (r < 0)
        (void)json_add_str(out, "error", err_text());
    if (session)
        add_state(out);
    (void)json_add_item(out, "mailboxes", mailboxes);
    mailboxes = cJSON_CreateArray();
    cleanup(free) char *text = json_print(out);
    (void)printf("%s\n", text ? text : "{}");
    (void)fflush(stdout);
}

/* -- what it can do ------------------------------------------------------------------------------------- */

static int do_open(const cJSON *in) {
    const char *compress = json_str(in, "compress");
    struct imap_endpoint e = {.host = json_str(in, "host"),
                              .port = (uint16_t)json_int(in, "port", 0),
                              .ca = json_str(in, "ca"),
                              .login = json_str(in, "login"),
                              .password = json_str(in, "password")};
    enum imap_compress how = !compress                         ? IMAP_COMPRESS_NEVER
                             : strcmp(compress, "always") == 0 ? IMAP_COMPRESS_ALWAYS
                                                               : IMAP_COMPRESS_AUTO;
    int r = imap_session_open(&e, how, -1, clock_boot_ms() + CONNECT_MS, &session);
    if (r == 0)
        session->on_mailbox = on_mailbox;
    return r;
}

/* Everything up to the end of `left` commands; the untagged responses go into out["responses"]. */
static int read_on(cJSON *out, unsigned left) {
    cJSON *list = cJSON_AddArrayToObject(out, "responses");
    uint64_t streamed = 0;
    int r = 0, worst = 0;
    session->stream = true;
    while (r >= 0 && imap_open_commands(session) > left) {
        r = imap_next(session, -1);
        if (r == IMAP_NEXT_UNTAGGED && cJSON_GetArraySize(list) < 1000)
            add_response(list, &session->parser);
        if (r == IMAP_NEXT_DATA)
            streamed += session->parser.chunk_len;
        if (r == IMAP_NEXT_DONE && (int)session->result > worst)
            worst = (int)session->result;
    }
    session->stream = false;
    (void)json_add_int(out, "streamed", (int64_t)streamed);
    return r < 0 ? r : worst;
}

static int quoted(const cJSON *in, struct buf *ret) {
    const char *mailbox = json_str(in, "mailbox");
    return imap_quote(session, mailbox, strlen(mailbox), ret);
}

static int do_select(const cJSON *in, cJSON *out) {
    cleanup(buf) struct buf name = {0};
    int r = quoted(in, &name);
    if (r == 0)
        r = imap_select_send(session, name.data, (uint32_t)json_int(in, "uidvalidity", 0),
                             (uint64_t)json_int(in, "modseq", 0));
    return r < 0 ? r : read_on(out, 0);
}

/* A message of "size" bytes, "text" again and again; without "size", "text". "missing" bytes are never sent.
 */
static int do_append(const cJSON *in) {
    cleanup(buf) struct buf name = {0}, piece = {0};
    const char *text = json_str(in, "text"), *flags = json_str(in, "flags");
    uint64_t left = (uint64_t)json_int(in, "size", (int64_t)strlen(text));
    int r = quoted(in, &name);
    while (r == 0 && piece.len < PIECE)
        r = buf_add_str(&piece, text);
    if (r == 0)
        r = imap_append_begin(session, name.data, flags ? flags : "", json_int(in, "seconds", 0), left);
    uint64_t missing = (uint64_t)json_int(in, "missing", 0);
    left -= missing < left ? missing : left;
    for (size_t now = 0; r == 0 && left > 0; left -= now) {
        now = left < piece.len ? (size_t)left : piece.len;
        r = imap_append_data(session, piece.data, now);
    }
    return r == 0 && missing == 0 ? imap_append_end(session) : r;
}

static int watched(const cJSON *in, int (*wait)(struct imap_session *, int, int64_t)) {
    return wait(session, json_bool(in, "watch", false) ? STDIN_FILENO : -1,
                clock_boot_ms() + json_int(in, "ms", 10000));
}

static int perform(const char *op, const cJSON *in, cJSON *out) {
    if (strcmp(op, "open") == 0)
        return do_open(in);
    if (!session)
        return err_set(ERR_WRONG_STATE, "not open");
    if (strcmp(op, "send") == 0)
        return imap_send(session, "%s", json_str(in, "line"));
    if (strcmp(op, "read") == 0)
        return read_on(out, (unsigned)json_int(in, "left", 0));
    if (strcmp(op, "select") == 0)
        return do_select(in, out);
    if (strcmp(op, "append") == 0)
        return do_append(in);
    if (strcmp(op, "idle") == 0)
        return watched(in, imap_idle);
    if (strcmp(op, "notify") == 0)
        return imap_notify(session);
    if (strcmp(op, "wait") == 0)
        return watched(in, imap_wait);
    if (strcmp(op, "calm") == 0) { /* what happened so far was looked at */
        session->changed = false;
        return 0;
    }
    return err_set(ERR_USAGE, "no such operation: %s", op);
}

/* One line, byte by byte: what lies behind it must stay in the pipe, which is watched. */
static bool read_line(struct buf *line) {
    char c = '\0';
    buf_clear(line);
    while (line->len < LINE_MAX_BYTES && read(STDIN_FILENO, &c, 1) == 1 && c != '\n')
        if (buf_add(line, &c, 1) < 0)
            return false;
    return c == '\n';
}

int main(void) {
    cleanup(buf) struct buf line = {0};
    mailboxes = cJSON_CreateArray();
    if (imap_connection_setup() < 0)
        return 1;
    while (read_line(&line)) {
        cleanup(cJSON) cJSON *in = NULL, *out = cJSON_CreateObject();
        if (json_parse(line.data, line.len, &in) < 0 || !json_str(in, "op"))
            return 2;
        machine.times = json_int(in, "sleeps", 0);
        machine.for_news = strcmp(json_str(in, "op"), "append") != 0;
        answer(out, perform(json_str(in, "op"), in, out));
    }
    imap_session_logout(session);
    cJSON_Delete(mailboxes);
    return 0;
}
