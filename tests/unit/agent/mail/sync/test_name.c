#include "tests/unit/cm.h"

#include "agent/mail/imap/session.h"
#include "agent/mail/sync/flags.h"
#include "agent/mail/sync/name.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"

#include <string.h>

static void folders(void **state) {
    (void)state;
    static const struct {
        const char *mailbox;
        char delimiter;
        const char *directory; /* NULL: refused */
    } cases[] = {
        {"INBOX", '/', "INBOX"},
        {"inbox", '.', "INBOX"},
        {"Inbox/x", '/', "Inbox/x"},
        {"Archive/2025", '/', "Archive/2025"},
        {"Archive.2025", '.', "Archive/2025"},
        {"Archive/2025", '.', "Archive%2F2025"},
        {"a/b", '\0', "a%2Fb"},
        {"Projekte/&ANw-bersicht", '/', "Projekte/Übersicht"},
        {"..", '/', "%2E."},
        {"../../etc", '/', "%2E./%2E./etc"},
        {".", '/', "%2E"},
        {".hidden", '/', "%2Ehidden"},
        {"cur", '/', "%63ur"},
        {"a/new", '/', "a/%6Eew"},
        {"tmp/x", '/', "%74mp/x"},
        {"curs", '/', "curs"},
        {"100%", '/', "100%25"},
        {"&AAo-", '/', "%0A"},
        {"&AC8-", '/', NULL}, /* ASCII in base64 */
        {"", '/', NULL},
        {"a//b", '/', NULL},
        {"/a", '/', NULL},
        {"a/", '/', NULL},
        {"&AAA-", '/', NULL},
        {"&bad", '/', NULL},
        {"caf\xc3\xa9", '/', NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cleanup(buf) struct buf out = {0};
        (void)buf_add_str(&out, "=");
        int r = name_folder(cases[i].mailbox, strlen(cases[i].mailbox), cases[i].delimiter, &out);
        assert_int_equal(r, cases[i].directory ? 0 : ERR_INVALID);
        assert_string_equal(out.data + 1, cases[i].directory ? cases[i].directory : "");
    }
}

static void caps(void **state) {
    (void)state;
    char name[3000];
    cleanup(buf) struct buf out = {0};
    memset(name, 'n', sizeof name);
    assert_int_equal(name_folder(name, NAME_COMPONENT_MAX, '/', &out), 0);
    assert_int_equal(name_folder(name, NAME_COMPONENT_MAX + 1, '/', &out), ERR_TOO_LARGE);
    assert_int_equal(name_folder(name, sizeof name, '/', &out), ERR_TOO_LARGE);
    for (size_t i = 1; i < sizeof name; i += 2)
        name[i] = '/';
    assert_int_equal(name_folder(name, (size_t)NAME_DEPTH_MAX * 2 - 1, '/', &out), 0);
    assert_int_equal(name_folder(name, (size_t)NAME_DEPTH_MAX * 2 + 1, '/', &out), ERR_TOO_LARGE);
}

static void messages(void **state) {
    (void)state;
    const struct name_message m = {.seconds = 1727000000, .hash = 0xabc, .uidvalidity = 4294967295, .uid = 7};
    struct name_message back;
    const char *suffix = NULL;
    char name[NAME_MESSAGE_SIZE];
    size_t n = name_message(&m, name);
    assert_int_equal(n, strlen(name));
    assert_string_equal(name, "1727000000.00000abc_4294967295_7.satchel,U=7");
    assert_true(name_parse(name, &back, &suffix));
    assert_true(back.seconds == m.seconds && back.hash == m.hash && back.uidvalidity == m.uidvalidity &&
                back.uid == m.uid);
    assert_string_equal(suffix, "");
    assert_true(name_parse("1.0000000f_2_3.satchel,U=3:2,FS", &back, &suffix));
    assert_string_equal(suffix, ":2,FS");
    static const char *const foreign[] = {
        "",
        "1",
        "1.0000000f_2_3",
        "1.0000000f_2_3.satchel,U=4",
        "1.f_2_3.satchel,U=3",
        "01.0000000f_2_3.satchel,U=3",
        " 1.0000000f_2_3.satchel,U=3",
        "-1.0000000f_2_3.satchel,U=3",
        "1.0000000f_2_3.satchel,U=3x",
        "1.0x0000f_2_3.satchel,U=3",
        "1.0000000f_2_99999999999.satchel,U=99999999999",
        "1234.567_8.host:2,S",
        "99999999999999999999.0000000f_2_3.satchel,U=3",
    };
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        assert_false(name_parse(foreign[i], &back, &suffix));
}

static void suffixes(void **state) {
    (void)state;
    char out[NAME_SUFFIX_MAX];
    bool odd = true;
    assert_int_equal(name_flags(":2,FS", &odd), IMAP_FLAGGED | IMAP_SEEN);
    assert_false(odd);
    assert_int_equal(name_flags(":2,SF", &odd), IMAP_FLAGGED | IMAP_SEEN); /* out of order */
    assert_true(odd);
    assert_int_equal(name_flags(":2,PabSSSX", &odd),
                     IMAP_SEEN | FLAGS_FORWARDED | FLAGS_SLOT(0) | FLAGS_SLOT(1));
    assert_true(odd);
    assert_int_equal(name_flags("", &odd), 0);
    assert_true(odd); /* in cur there is always a suffix */
    assert_int_equal(name_flags(":1,S", NULL), 0);
    name_suffix("", 0, out);
    assert_string_equal(out, ":2,");
    name_suffix("", UINT32_MAX, out);
    assert_string_equal(out, ":2,DFPRSTabcdefghijklmnopqrstuvwxyz");
    assert_int_equal(name_flags(out, &odd), UINT32_MAX);
    assert_false(odd);
    name_suffix(":2,SX7ba", IMAP_FLAGGED | FLAGS_SLOT(25), out);
    assert_string_equal(out, ":2,7FXz");
}

static void mailboxes(void **state) {
    (void)state;
    static const struct {
        const char *directory;
        char delimiter;
        const char *mailbox; /* NULL: there is none */
    } cases[] = {
        {"Sent", '/', "Sent"},
        {"Projekte/\xc3\x9c"
         "bersicht",
         '/', "Projekte/&ANw-bersicht"},
        {"a/b", '.', "a.b"},
        {"%2Ehidden", '/', ".hidden"},
        {"%63ur", '/', "cur"},
        {"100%25", '/', "100%"},
        {"R&D", '/', "R&-D"},
        {"INBOX/x", '/', "INBOX/x"},
        {"a.b", '.', NULL},
        {"100%", '/', NULL},
        {"%41", '/', NULL}, /* not how name_folder() writes it */
        {"%zz", '/', NULL},
        {"%2e", '/', NULL},
        {"a/b", '\0', NULL},
        {"\xff", '/', NULL},
        {"", '/', NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cleanup(buf) struct buf out = {0};
        int r = name_mailbox(cases[i].directory, cases[i].delimiter, &out);
        assert_int_equal(r, cases[i].mailbox ? 0 : ERR_INVALID);
        if (cases[i].mailbox)
            assert_string_equal(out.data, cases[i].mailbox);
    }
}

static void hashes(void **state) {
    (void)state;
    assert_int_equal(name_hash("inbox", 5), name_hash("INBOX", 5));
    assert_int_not_equal(name_hash("Sent", 4), name_hash("sent", 4));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(folders),   cmocka_unit_test(caps),
                                       cmocka_unit_test(messages),  cmocka_unit_test(suffixes),
                                       cmocka_unit_test(mailboxes), cmocka_unit_test(hashes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
