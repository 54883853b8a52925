/* What responses do to the session: pipelined commands, codes, the selected mailbox. */
#include "tests/unit/cm.h"

#include "agent/mail/imap/command.h"
#include "agent/mail/imap/response.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"

#include <stdlib.h>
#include <string.h>

#define assert_has(a, b) assert_non_null(strstr(a, b))

static struct imap_session *make(void) {
    struct imap_session *s = calloc(1, sizeof *s);
    assert_non_null(s);
    imap_response_init(s);
    return s;
}

static void session_cleanup(struct imap_session **s) {
    imap_response_finish(*s);
    free(*s);
}

/* A command of that line, as sent. Its number. */
static unsigned sent(struct imap_session *s, const char *line) {
    assert_int_equal(imap_command_open(s, imap_command_kinds(line)), 0);
    return s->sent;
}

/* The server says a line, without its line end. */
static int says(struct imap_session *s, const char *line) {
    size_t used = 0;
    cleanup(buf) struct buf text = {0};
    assert_int_equal(buf_printf(&text, "%s\r\n", line), 0);
    assert_int_equal(imap_parser_feed(&s->parser, text.data, text.len, &used), IMAP_EVENT_RESPONSE);
    assert_int_equal(used, text.len);
    return imap_response(s);
}

/* The server ends the command of that number. */
static int ends(struct imap_session *s, unsigned number, const char *with) {
    cleanup(buf) struct buf text = {0};
    assert_int_equal(buf_printf(&text, "a%u %s", number, with), 0);
    return says(s, text.data);
}

static void commands_are_matched_by_tag(void **state) {
    (void)state;
    cleanup(session) struct imap_session *s = make();
    unsigned one = sent(s, "NOOP"), two = sent(s, "UID FETCH 1 (FLAGS)"), three = sent(s, "NOOP");
    assert_int_equal(imap_open_commands(s), 3);
    assert_int_equal(ends(s, two, "NO no"), IMAP_NEXT_DONE);
    assert_int_equal(s->done, two);
    assert_int_equal(s->result, IMAP_NO);
    assert_string_equal(s->text, "no");
    assert_int_equal(ends(s, one, "OK"), IMAP_NEXT_DONE);
    assert_int_equal(s->done, one);
    assert_string_equal(s->text, "");
    assert_int_equal(ends(s, two, "OK again"), ERR_PROTOCOL);
    assert_int_equal(ends(s, three, "BAD"), IMAP_NEXT_DONE);
    assert_int_equal(s->result, IMAP_BAD);
    assert_int_equal(imap_open_commands(s), 0);
    assert_int_equal(says(s, "z OK"), ERR_PROTOCOL);
    assert_int_equal(says(s, "a04 OK"), ERR_PROTOCOL);
    (void)sent(s, "NOOP");
    assert_int_equal(says(s, "a4 MAYBE"), ERR_PROTOCOL);
    assert_int_equal(says(s, "+ go on"), IMAP_NEXT_CONTINUE);
}

static void open_commands_have_a_cap(void **state) {
    (void)state;
    cleanup(session) struct imap_session *s = make();
    for (int i = 0; i < IMAP_PIPELINE_MAX; i++)
        (void)sent(s, "NOOP");
    assert_int_equal(imap_command_open(s, 0), ERR_WRONG_STATE);
    assert_int_equal(imap_open_commands(s), IMAP_PIPELINE_MAX);
    assert_int_equal(ends(s, 7, "OK"), IMAP_NEXT_DONE);
    (void)sent(s, "NOOP");
}

static void answers_have_a_cap(void **state) {
    (void)state;
    cleanup(session) struct imap_session *s = make();
    (void)sent(s, "NOOP");
    for (int round = 0; round < 2; round++) {
        int r = IMAP_NEXT_UNTAGGED, n = 0;
        for (; r == IMAP_NEXT_UNTAGGED && n < 300000; n++)
            r = says(s, "* OK still here");
        assert_int_equal(r, ERR_PROTOCOL);
        assert_int_equal(n, 200002);
        (void)sent(s, "NOOP"); /* each command has its own */
    }
}

static void bye_is_the_end(void **state) {
    (void)state;
    cleanup(session) struct imap_session *s = make();
    assert_int_equal(says(s, "* BYE too \x01 much"), ERR_UNREACHABLE);
    assert_has(err_text(), "too ? much");
    assert_int_equal(says(s, "* BYE Request is throttled. Suggested Backoff Time: 5000 milliseconds"),
                     ERR_UNREACHABLE);
    assert_int_equal(s->backoff_ms, 5000);
}

static void capabilities(void **state) {
    (void)state;
    cleanup(session) struct imap_session *s = make();
    (void)says(
        s,
        "* CAPABILITY IMAP4rev1 idle QRESYNC LITERAL+ COMPRESS=DEFLATE APPENDLIMIT=35651584 XIDLE UTF8=ONLY");
    assert_int_equal(s->capabilities, IMAP_CAP_IDLE | IMAP_CAP_QRESYNC | IMAP_CAP_CONDSTORE |
                                          IMAP_CAP_LITERAL_PLUS | IMAP_CAP_COMPRESS | IMAP_CAP_UTF8);
    assert_int_equal(s->append_limit, 35651584);
    assert_int_equal(s->enabled, 0);
    (void)says(s, "* OK [CAPABILITY IMAP4rev1 MOVE APPENDLIMIT] x");
    assert_int_equal(s->capabilities, IMAP_CAP_MOVE);
    assert_int_equal(s->append_limit, 0);
    static const char *const odd[] = {"APPENDLIMIT=", "APPENDLIMIT=x", "APPENDLIMIT=-5",
                                      "APPENDLIMIT=99999999999999999999", "APPENDLIMIT=5x"};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        cleanup(buf) struct buf line = {0};
        assert_int_equal(buf_printf(&line, "* CAPABILITY %s", odd[i]), 0);
        (void)says(s, line.data);
        assert_int_equal(s->append_limit, 0);
    }
}

/* What was offered, said without being asked, or not asked for, is not enabled. */
static void enabled_is_what_is_told_when_asked(void **state) {
    (void)state;
    cleanup(session) struct imap_session *s = make();
    s->asked = IMAP_CAP_QRESYNC | IMAP_CAP_CONDSTORE;
    assert_int_equal(says(s, "* ENABLED QRESYNC"), IMAP_NEXT_UNTAGGED);
    assert_int_equal(s->enabled, 0);
    unsigned n = sent(s, "ENABLE QRESYNC");
    (void)says(s, "* ENABLED UTF8=ACCEPT MOVE");
    assert_int_equal(s->enabled, 0);
    (void)ends(s, n, "OK [ENABLED QRESYNC] QRESYNC");
    assert_int_equal(s->enabled, 0);
    n = sent(s, "ENABLE QRESYNC");
    (void)says(s, "* ENABLED");
    assert_int_equal(s->enabled, 0);
    (void)says(s, "* ENABLED CONDSTORE");
    assert_int_equal(s->enabled, IMAP_CAP_CONDSTORE);
    (void)says(s, "* ENABLED qresync");
    assert_int_equal(s->enabled, IMAP_CAP_QRESYNC | IMAP_CAP_CONDSTORE);
    (void)ends(s, n, "OK");
}

static void codes_of_refusals(void **state) {
    (void)state;
    static const struct {
        const char *text;
        enum imap_code code;
        int64_t backoff_ms;
    } cases[] = {
        {"NO [TRYCREATE] x", IMAP_CODE_TRYCREATE, 0},
        {"NO [nonexistent] x", IMAP_CODE_NONEXISTENT, 0},
        {"NO [ALREADYEXISTS]", IMAP_CODE_ALREADYEXISTS, 0},
        {"NO [NOPERM] x", IMAP_CODE_NOPERM, 0},
        {"NO [CANNOT] x", IMAP_CODE_CANNOT, 0},
        {"NO [OVERQUOTA] x", IMAP_CODE_OVERQUOTA, 0},
        {"NO [TOOBIG] x", IMAP_CODE_TOOBIG, 0},
        {"NO [CORRUPTION] x", IMAP_CODE_CORRUPTION, 0},
        {"NO [UNAVAILABLE] x", IMAP_CODE_BUSY, 0},
        {"BAD [LIMIT] x", IMAP_CODE_BUSY, 0},
        {"NO [INUSE] x", IMAP_CODE_BUSY, 0},
        {"BAD Request is throttled. Suggested Backoff Time: 299962 milliseconds", IMAP_CODE_BUSY, 299962},
        {"NO [UNAVAILABLE] suggested backoff time: 7 seconds", IMAP_CODE_BUSY, 7000},
        {"NO [OVERQUOTA] backoff 3 milliseconds", IMAP_CODE_OVERQUOTA, 3},
        {"NO Backoff Time: 99999999999999999999 milliseconds", IMAP_CODE_BUSY, 86400000},
        {"NO Backoff Time: -", IMAP_CODE_NONE, 0},
        {"NO [XUNKNOWN] x", IMAP_CODE_NONE, 0},
        {"NO TRYCREATE", IMAP_CODE_NONE, 0},
        {"OK Backoff Time: 5 seconds", IMAP_CODE_NONE, 0},
        {"NO", IMAP_CODE_NONE, 0},
    };
    cleanup(session) struct imap_session *s = make();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(ends(s, sent(s, "NOOP"), cases[i].text), IMAP_NEXT_DONE);
        assert_int_equal(s->code, cases[i].code);
        assert_int_equal(s->backoff_ms, cases[i].backoff_ms);
    }
}

static void appenduid_belongs_to_its_append(void **state) {
    (void)state;
    cleanup(session) struct imap_session *s = make();
    (void)ends(s, sent(s, "NOOP"), "OK [APPENDUID 5 9] CVE-2021-3578");
    assert_int_equal(s->copied.uid, 0);
    (void)says(s, "* OK [APPENDUID 5 9] nobody asked");
    assert_int_equal(s->copied.uid, 0);
    unsigned one = sent(s, "APPEND INBOX"), two = sent(s, "APPEND INBOX"), three = sent(s, "append INBOX");
    (void)ends(s, one, "OK [APPENDUID 5 4294967295] done");
    assert_int_equal(s->copied.uidvalidity, 5);
    assert_int_equal(s->copied.uid, UINT32_MAX);
    (void)says(s, "* OK [APPENDUID 5 77] of which of the two?");
    (void)ends(s, two, "OK done");
    assert_int_equal(s->copied.uidvalidity, 0);
    (void)says(s, "* OK [APPENDUID 5 78] of the last one");
    (void)ends(s, three, "OK done");
    assert_int_equal(s->copied.uid, 78);
    (void)ends(s, sent(s, "NOOP"), "OK [APPENDUID 6 1]");
    assert_int_equal(s->copied.uid, 78);
    (void)ends(s, sent(s, "APPEND x"), "NO [APPENDUID 5 79] no");
    assert_int_equal(s->copied.uid, 0);
    static const char *const bad[] = {"OK [APPENDUID 5]",
                                      "OK [APPENDUID]",
                                      "OK [APPENDUID 5 0]",
                                      "OK [APPENDUID 0 5]",
                                      "OK [APPENDUID 5 1:2]",
                                      "OK [APPENDUID x 5]",
                                      "OK [APPENDUID 5 4294967296]",
                                      "OK [APPENDUID 4294967296 5]",
                                      "OK [APPENDUID (5) (6)]",
                                      "OK [COPYUID 5 1 2]",
                                      "OK APPENDUID 5 6"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        (void)ends(s, sent(s, "APPEND x"), bad[i]);
        assert_int_equal(s->copied.uidvalidity, 0);
        assert_int_equal(s->copied.uid, 0);
    }
}

static void copyuid_is_paired_or_ignored(void **state) {
    (void)state;
    cleanup(session) struct imap_session *s = make();
    (void)ends(s, sent(s, "UID COPY 1 x"), "OK [COPYUID 38505 304,319:320 3958:3956] Done");
    assert_int_equal(s->copied.uidvalidity, 38505);
    assert_int_equal(uidset_count(&s->copied.from), 3);
    assert_int_equal(uidset_at(&s->copied.from, 2), 320);
    assert_int_equal(uidset_at(&s->copied.to, 2), 3958);
    unsigned n = sent(s, "UID MOVE 1 x");
    (void)says(s, "* OK [COPYUID 9 1 2] Moved UIDs");
    (void)says(s, "* 1 EXPUNGE");
    (void)ends(s, n, "OK done");
    assert_int_equal(uidset_at(&s->copied.to, 0), 2);
    static const char *const bad[] = {
        "OK [COPYUID 14  ]",    "OK [COPYUID 14 1]",     "OK [COPYUID 14 1 1:2]",
        "OK [COPYUID 14 0 1]",  "OK [COPYUID 14 * 1]",   "OK [COPYUID 14 1:* 1:4294967295]",
        "OK [COPYUID 14 a b]",  "OK [COPYUID 14 (1) 1]", "OK [COPYUID 0 1 1]",
        "OK [COPYUID 14 1, 1]", "OK [APPENDUID 5 6]",    "OK [COPYUID 14 \"\" \"\"]"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        (void)ends(s, sent(s, "UID COPY 1 x"), bad[i]);
        assert_int_equal(s->copied.uidvalidity, 0);
        assert_int_equal(s->copied.from.n + s->copied.to.n, 0);
    }
    cleanup(buf) struct buf many = {0};
    assert_int_equal(buf_add_str(&many, "OK [COPYUID 14 1"), 0);
    for (int i = 0; i < IMAP_COPY_RANGES_MAX; i++)
        assert_int_equal(buf_add_str(&many, ",1"), 0);
    assert_int_equal(buf_printf(&many, " 1:%d]", IMAP_COPY_RANGES_MAX + 1), 0);
    (void)ends(s, sent(s, "UID COPY 1 x"), many.data);
    assert_int_equal(s->copied.uidvalidity, 0);
    (void)ends(s, sent(s, "UID STORE 1 x"), "OK [COPYUID 14 1 2]");
    assert_int_equal(s->copied.uidvalidity, 0);
}

/* The answer to SELECT, as Dovecot gives it. */
static void selects(struct imap_session *s) {
    unsigned n = sent(s, "SELECT INBOX");
    static const char *const lines[] = {
        "* FLAGS (\\Answered \\Seen $Forwarded)",
        "* OK [PERMANENTFLAGS (\\Answered \\Seen $Forwarded NonJunk \\*)] Flags permitted.",
        "* 10 EXISTS",
        "* 0 RECENT",
        "* OK [UIDVALIDITY 4294967295] UIDs valid",
        "* OK [UIDNEXT 4000000000] Predicted next UID",
        "* OK [HIGHESTMODSEQ 9223372036854775807]",
        "* VANISHED (EARLIER) 1:4294967295",
        "* 3 FETCH (UID 7 FLAGS (\\Seen))"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        assert_int_equal(says(s, lines[i]), IMAP_NEXT_UNTAGGED);
    assert_int_equal(ends(s, n, "OK [READ-ONLY] done"), IMAP_NEXT_DONE);
}

static void select_fills_the_mailbox(void **state) {
    (void)state;
    cleanup(session) struct imap_session *s = make();
    assert_true(s->permanent_any);
    assert_int_equal(s->permanent, IMAP_FLAGS_ALL);
    selects(s);
    assert_int_equal(s->exists, 10);
    assert_int_equal(s->uidvalidity, UINT32_MAX);
    assert_int_equal(s->uidnext, 4000000000);
    assert_true(s->modseq == INT64_MAX);
    assert_int_equal(s->permanent, IMAP_ANSWERED | IMAP_SEEN);
    assert_true(s->permanent_any && s->read_only && s->selected);
    assert_false(s->changed || s->no_modseq);
    assert_int_equal(s->keywords.len, sizeof "$Forwarded\0NonJunk");
    assert_memory_equal(s->keywords.data, "$Forwarded\0NonJunk", sizeof "$Forwarded\0NonJunk");
    imap_response_forget(s);
    assert_int_equal(s->exists + s->uidvalidity + s->uidnext + s->keywords.len, 0);
    assert_true(s->permanent == IMAP_FLAGS_ALL && s->permanent_any && !s->read_only && s->modseq == 0);
    unsigned n = sent(s, "SELECT x");
    (void)says(s, "* OK [PERMANENTFLAGS ()] none");
    (void)says(s, "* OK [NOMODSEQ] none");
    (void)ends(s, n, "OK [READ-WRITE]");
    assert_true(s->permanent == 0 && !s->permanent_any && s->no_modseq && !s->read_only);
}

static void keywords_have_a_cap(void **state) {
    (void)state;
    cleanup(session) struct imap_session *s = make();
    cleanup(buf) struct buf line = {0};
    assert_int_equal(buf_add_str(&line, "* OK [PERMANENTFLAGS ("), 0);
    for (int i = 0; i < 20000; i++)
        assert_int_equal(buf_printf(&line, "k%09d ", i), 0);
    assert_int_equal(buf_add_str(&line, "\\*)] many"), 0);
    assert_int_equal(says(s, line.data), IMAP_NEXT_UNTAGGED);
    assert_true(s->permanent_any);
    assert_true(s->keywords.len > 60000 && s->keywords.len <= 65536);
    assert_int_equal(s->keywords.len % 11, 0);
}

static void modseq_is_that_of_select(void **state) {
    (void)state;
    cleanup(session) struct imap_session *s = make();
    selects(s);
    s->modseq = 5;
    (void)ends(s, sent(s, "UID STORE 1 +FLAGS.SILENT (\\Seen)"), "OK [HIGHESTMODSEQ 9] done");
    (void)says(s, "* OK [HIGHESTMODSEQ 10]");
    assert_int_equal(s->modseq, 5);
}

static void changes(void **state) {
    (void)state;
    static const struct {
        const char *command, *line;
        uint32_t exists;
        bool changed;
    } cases[] = {
        {"NOOP", "* 11 EXISTS", 11, true},
        {"NOOP", "* 10 EXISTS", 10, false},
        {"NOOP", "* 4294967295 EXISTS", UINT32_MAX, true},
        {"NOOP", "* 4294967296 EXISTS", 10, false},
        {"NOOP", "* -1 EXISTS", 10, false},
        {"NOOP", "* 0 RECENT", 10, false},
        {"NOOP", "* 1 EXPUNGE", 9, true},
        {"UID EXPUNGE 1", "* 1 EXPUNGE", 9, false},
        {"UID MOVE 1 x", "* 1 EXPUNGE", 9, false},
        {"UID COPY 1 x", "* 1 EXPUNGE", 9, true},
        {"NOOP", "* VANISHED 1:3,9", 6, true},
        {"UID EXPUNGE 1", "* VANISHED 1", 9, false},
        {"NOOP", "* VANISHED 1:4294967295", 0, true},
        {"NOOP", "* VANISHED (EARLIER) 1:4294967295", 10, false},
        {"NOOP", "* 1 FETCH (FLAGS (\\Seen))", 10, true},
        {"UID FETCH 1 (FLAGS)", "* 1 FETCH (FLAGS (\\Seen))", 10, false},
        {"UID STORE 1 FLAGS ()", "* 1 FETCH (UID 1 FLAGS ())", 10, false},
        {"UID EXPUNGE 1", "* 1 FETCH (UID 1 FLAGS ())", 10, true},
        {"NOOP", "* OK [UIDVALIDITY 4294967295]", 10, false},
        {"NOOP", "* OK [UIDVALIDITY 7]", 10, true},
        {"NOOP", "* STATUS x (MESSAGES 3)", 10, false},
        {"NOOP", "* FLAGS (\\Seen)", 10, false},
        {"NOOP", "* SOMETHING (ELSE 1) 2 \"x\"", 10, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cleanup(session) struct imap_session *s = make();
        selects(s);
        (void)sent(s, cases[i].command);
        assert_int_equal(says(s, cases[i].line), IMAP_NEXT_UNTAGGED);
        if (s->exists != cases[i].exists || s->changed != cases[i].changed)
            fail_msg("%s: %u, %d", cases[i].line, s->exists, s->changed);
    }
    cleanup(session) struct imap_session *s = make();
    for (int i = 0; i < 3; i++)
        assert_int_equal(says(s, "* 1 EXPUNGE"), IMAP_NEXT_UNTAGGED);
    assert_int_equal(s->exists, 0);
}

static void vanished(void **state) {
    (void)state;
    cleanup(session) struct imap_session *s = make();
    cleanup(uidset) struct uidset gone = {0};
    bool earlier = false;
    (void)says(s, "* VANISHED (EARLIER) 300:310,405");
    assert_int_equal(imap_vanished(&s->parser, &earlier, &gone), 1);
    assert_true(earlier);
    (void)says(s, "* VANISHED 7");
    assert_int_equal(imap_vanished(&s->parser, &earlier, &gone), 1);
    assert_false(earlier);
    assert_int_equal(gone.n, 3);
    (void)says(s, "* 7 EXPUNGE");
    assert_int_equal(imap_vanished(&s->parser, &earlier, &gone), 0);
    static const char *const bad[] = {"* VANISHED",    "* VANISHED (EARLIER)", "* VANISHED x",
                                      "* VANISHED 0",  "* VANISHED (x) 1",     "* VANISHED () 1",
                                      "* VANISHED 1,", "* VANISHED \"1\"",     "* VANISHED ((EARLIER)) 1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(says(s, bad[i]), ERR_PROTOCOL);
    assert_int_equal(gone.n, 3);
}

static int calls;

static void count_call(void *ctx, const struct imap_parser *p) {
    assert_ptr_equal(ctx, &calls);
    assert_true(p->count > 0);
    calls++;
}

static void other_mailboxes_are_told(void **state) {
    (void)state;
    cleanup(session) struct imap_session *s = make();
    calls = 0;
    (void)says(s, "* STATUS x (MESSAGES 3)"); /* nobody listens */
    assert_true(s->told);
    s->on_mailbox = count_call;
    s->ctx = &calls;
    s->leaving = true; /* these are not about the mailbox that is left */
    assert_int_equal(says(s, "* STATUS x (MESSAGES 3)"), IMAP_NEXT_UNTAGGED);
    assert_int_equal(says(s, "* LIST () \"/\" x"), IMAP_NEXT_UNTAGGED);
    assert_int_equal(says(s, "* OK [NOTIFICATIONOVERFLOW] too much"), IMAP_NEXT_UNTAGGED);
    assert_int_equal(calls, 3);
    (void)says(s, "* OK [ALERT] x");
    (void)says(s, "* LSUB () \"/\" x");
    assert_int_equal(calls, 3);
}

/* With UNSELECT sent along, nothing of the old mailbox is taken for the new one's. */
static void leaving_by_unselect(void **state) {
    (void)state;
    cleanup(session) struct imap_session *s = make();
    selects(s);
    s->leaving = true;
    assert_int_equal(imap_command_open(s, IMAP_KIND_LEAVE | IMAP_KIND_HIDDEN), 0);
    unsigned unselect = s->sent;
    imap_response_forget(s);
    unsigned select = sent(s, "SELECT x");
    assert_int_equal(imap_open_commands(s), 1);
    static const char *const old[] = {"* 99 EXISTS", "* 1 EXPUNGE", "* VANISHED 1:5",
                                      "* 2 FETCH (UID 2 FLAGS ())", "* FLAGS (\\Seen)"};
    for (size_t i = 0; i < sizeof old / sizeof *old; i++)
        assert_int_equal(says(s, old[i]), 0);
    (void)says(s, "* OK [UIDVALIDITY 3] old");
    (void)says(s, "* OK [CLOSED] not yet: UNSELECT ends it");
    assert_int_equal(says(s, "* 98 EXISTS"), 0);
    assert_int_equal(ends(s, unselect, "OK left"), 0);
    assert_int_equal(s->exists + s->uidvalidity, 0);
    assert_int_equal(says(s, "* 5 EXISTS"), IMAP_NEXT_UNTAGGED);
    assert_int_equal(ends(s, select, "OK [READ-WRITE] done"), IMAP_NEXT_DONE);
    assert_int_equal(s->exists, 5);
    assert_int_equal(s->done, select);
    assert_true(s->selected && !s->changed);
}

static void leaving_by_closed(void **state) {
    (void)state;
    cleanup(session) struct imap_session *s = make();
    selects(s);
    s->leaving = true;
    imap_response_forget(s);
    unsigned select = sent(s, "SELECT x");
    assert_int_equal(says(s, "* 99 EXISTS"), 0);
    assert_int_equal(says(s, "* OK [CLOSED] Previous mailbox closed."), IMAP_NEXT_UNTAGGED);
    assert_int_equal(says(s, "* 5 EXISTS"), IMAP_NEXT_UNTAGGED);
    assert_int_equal(ends(s, select, "OK done"), IMAP_NEXT_DONE);
    assert_int_equal(s->exists, 5);
}

/* A SELECT that fails leaves none selected. */
static void failed_select(void **state) {
    (void)state;
    cleanup(session) struct imap_session *s = make();
    selects(s);
    s->leaving = true;
    unsigned select = sent(s, "SELECT x");
    (void)ends(s, select, "NO [NONEXISTENT] none");
    assert_false(s->selected || s->leaving);
    assert_int_equal(s->code, IMAP_CODE_NONEXISTENT);
    selects(s);
    (void)ends(s, sent(s, "CLOSE"), "NO no");
    assert_true(s->selected);
    (void)ends(s, sent(s, "UNSELECT"), "OK");
    assert_false(s->selected);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_are_matched_by_tag),
        cmocka_unit_test(open_commands_have_a_cap),
        cmocka_unit_test(answers_have_a_cap),
        cmocka_unit_test(bye_is_the_end),
        cmocka_unit_test(capabilities),
        cmocka_unit_test(enabled_is_what_is_told_when_asked),
        cmocka_unit_test(codes_of_refusals),
        cmocka_unit_test(appenduid_belongs_to_its_append),
        cmocka_unit_test(copyuid_is_paired_or_ignored),
        cmocka_unit_test(select_fills_the_mailbox),
        cmocka_unit_test(keywords_have_a_cap),
        cmocka_unit_test(modseq_is_that_of_select),
        cmocka_unit_test(changes),
        cmocka_unit_test(vanished),
        cmocka_unit_test(other_mailboxes_are_told),
        cmocka_unit_test(leaving_by_unselect),
        cmocka_unit_test(leaving_by_closed),
        cmocka_unit_test(failed_select),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
