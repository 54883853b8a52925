/* platform/base: the caps, the refusals, and what survives a failure. */
#include "platform/base/buf.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/encode.h"
#include "platform/base/err.h"
#include "platform/base/file.h"
#include "platform/base/frame.h"
#include "platform/base/json.h"
#include "tests/unit/cm.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

static void buf_keeps_its_cap(void **state) {
    (void)state;
    cleanup(buf) struct buf b;
    buf_init(&b, 8, true);
    assert_int_equal(buf_add_str(&b, "12345678"), 0);
    assert_int_equal(buf_add(&b, "9", 1), ERR_TOO_LARGE);
    assert_string_equal(b.data, "12345678");
    buf_consume(&b, 6);
    assert_string_equal(b.data, "78");
    assert_int_equal(buf_printf(&b, "%d", 1234567), ERR_TOO_LARGE);
    assert_int_equal(b.len, 2);
}

static void base64url_round_trip(void **state) {
    (void)state;
    for (size_t n = 0; n < 100; n++) {
        unsigned char raw[100];
        random_bytes(raw, sizeof raw);
        cleanup(free) char *text = encode_base64url(raw, n);
        cleanup(buf) struct buf back = {0};
        assert_int_equal(decode_base64url(text, strlen(text), &back), 0);
        assert_int_equal(back.len, n);
        if (n)
            assert_memory_equal(back.data, raw, n);
    }
}

static void base64url_refuses(void **state) {
    (void)state;
    static const char *const bad[] = {"A", "AA==", "A+A", "A/A", "AB", "A A", "AAAAA", "\xc3\xa4xx"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cleanup(buf) struct buf out = {0};
        assert_int_equal(decode_base64url(bad[i], strlen(bad[i]), &out), ERR_INVALID);
        assert_int_equal(out.len, 0);
    }
}

static int parse(const char *text) {
    cleanup(cJSON) cJSON *json = NULL;
    return json_parse(text, strlen(text), &json);
}

static void json_refuses(void **state) {
    (void)state;
    char deep[200];
    memset(deep, '[', sizeof deep);
    memset(deep + 100, ']', 100);
    cleanup(cJSON) cJSON *json = NULL;
    assert_int_equal(json_parse(deep, sizeof deep, &json), ERR_INVALID);
    assert_int_equal(parse("{\"a\":1,\"a\":2}"), ERR_INVALID);
    assert_int_equal(parse("{\"a\":{\"b\":1,\"b\":2}}"), ERR_INVALID);
    assert_int_equal(parse("{} {}"), ERR_INVALID);
    assert_int_equal(parse("{\"a\":\"\\u0000\"}"), ERR_INVALID);
    assert_int_equal(parse("{\"a\":\"\n\"}"), ERR_INVALID);
    assert_int_equal(parse(""), ERR_INVALID);
    assert_int_equal(parse("{\"a\":"), ERR_INVALID);
    assert_int_equal(json_parse("{\"a\":1\0}", 8, &json), ERR_INVALID);
    assert_int_equal(parse(" {\"a\":\"\\\\u0000\"} \n"), 0);
}

static void json_types(void **state) {
    (void)state;
    cleanup(cJSON) cJSON *json = NULL;
    const char text[] = "{\"s\":\"x\",\"i\":7,\"f\":1.5,\"b\":true,\"empty\":\"\"}";
    assert_int_equal(json_parse(text, strlen(text), &json), 0);
    const char *s;
    int64_t i;
    assert_int_equal(json_need_str(json, "s", 1, &s), 0);
    assert_int_equal(json_need_str(json, "s", 0, &s), ERR_INVALID);
    assert_int_equal(json_need_str(json, "empty", 9, &s), ERR_INVALID);
    assert_int_equal(json_need_str(json, "i", 9, &s), ERR_INVALID);
    assert_int_equal(json_need_int(json, "i", 7, 7, &i), 0);
    assert_int_equal(json_need_int(json, "i", 8, 9, &i), ERR_INVALID);
    assert_int_equal(json_need_int(json, "f", 0, 9, &i), ERR_INVALID);
    assert_int_equal(json_int(json, "f", -1), -1);
    assert_true(json_bool(json, "b", false));
}

static void rfc3339(void **state) {
    (void)state;
    char text[CLOCK_RFC3339_SIZE];
    assert_string_equal(clock_rfc3339(INT64_C(1764064800123), text), "2025-11-25T10:00:00.123Z");
    assert_int_equal(clock_parse_rfc3339("2025-11-25T10:00:00.123Z"), INT64_C(1764064800123));
    assert_int_equal(clock_parse_rfc3339("2025-11-25T12:00:00+02:00"), INT64_C(1764064800000));
    assert_int_equal(clock_parse_rfc3339("2025-11-25 10:00:00Z"), ERR_INVALID);
    assert_int_equal(clock_parse_rfc3339("2025-11-25T10:00:00"), ERR_INVALID);
    assert_int_equal(clock_parse_rfc3339("2025-11-25T10:00:00Zx"), ERR_INVALID);
    assert_int_equal(clock_parse_rfc3339("garbage"), ERR_INVALID);
}

static int scratch(char *path) {
    assert_non_null(mkdtemp(path));
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void put(int dir, const char *name, const char *text) {
    assert_int_equal(file_write_atomic(dir, name, text, strlen(text), 0600), 0);
}

static void file_read_and_write(void **state) {
    (void)state;
    char path[] = "/tmp/satchel-test-XXXXXX";
    cleanup(fd) int dir = scratch(path);
    cleanup(buf) struct buf text = {0};
    put(dir, "a", "one");
    put(dir, "a", "two");
    assert_int_equal(file_read(dir, "a", 3, &text), 0);
    assert_string_equal(text.data, "two");
    assert_int_equal(file_read(dir, "a", 2, &text), ERR_TOO_LARGE);
    assert_int_equal(text.len, 3);
    assert_int_equal(file_read(dir, "b", 2, &text), ERR_NOT_FOUND);
    assert_int_equal(symlinkat("a", dir, "link"), 0);
    assert_true(file_read(dir, "link", 9, &text) < 0);
    assert_int_equal(file_remove(dir, "a"), 0);
    assert_int_equal(file_remove(dir, "a"), 0);
    assert_int_equal(file_remove_tree(AT_FDCWD, path, NULL), 0);
}

/* Planted links do not lead a removal out of its tree. */
static void file_remove_tree_stays_inside(void **state) {
    (void)state;
    char path[] = "/tmp/satchel-test-XXXXXX", outside[] = "/tmp/satchel-test-XXXXXX", hard[100], soft[100];
    cleanup(fd) int dir = scratch(path), other = scratch(outside);
    put(other, "mine", "personal");
    assert_int_equal(mkdirat(dir, "tree", 0700), 0);
    assert_int_equal(mkdirat(dir, "tree/deep", 0700), 0);
    put(dir, "tree/deep/file", "12345");
    (void)snprintf(soft, sizeof soft, "%s", outside);
    assert_int_equal(symlinkat(soft, dir, "tree/link"), 0);
    (void)snprintf(hard, sizeof hard, "%s/mine", outside);
    assert_int_equal(linkat(AT_FDCWD, hard, dir, "tree/hard", 0), 0);
    struct file_removed count = {0};
    assert_int_equal(file_remove_tree(dir, "tree", &count), 0);
    assert_int_equal(count.files, 3);
    assert_int_equal(count.bytes, 5);
    assert_int_equal(faccessat(dir, "tree", F_OK, 0), -1);
    cleanup(buf) struct buf text = {0};
    assert_int_equal(file_read(other, "mine", 99, &text), 0);
    assert_string_equal(text.data, "personal");
    /* The whole tree may itself be a link. */
    assert_int_equal(symlinkat(outside, dir, "tree"), 0);
    assert_int_equal(file_remove_tree(dir, "tree", NULL), 0);
    assert_int_equal(faccessat(other, "mine", F_OK, 0), 0);
    assert_int_equal(file_remove_tree(AT_FDCWD, path, NULL), 0);
    assert_int_equal(file_remove_tree(AT_FDCWD, outside, NULL), 0);
}

/* Deeper than anybody recurses, and than PATH_MAX is long. */
static void file_remove_tree_has_no_depth_limit(void **state) {
    (void)state;
    char path[] = "/tmp/satchel-test-XXXXXX";
    cleanup(fd) int dir = scratch(path);
    int at = dup(dir);
    for (int i = 0; i < 1500; i++) {
        assert_int_equal(mkdirat(at, "deep", 0700), 0);
        int file = openat(at, "file", O_WRONLY | O_CREAT, 0600);
        assert_true(file >= 0);
        (void)close(file);
        int next = openat(at, "deep", O_RDONLY | O_DIRECTORY);
        assert_true(next >= 0);
        (void)close(at);
        at = next;
    }
    (void)close(at);
    struct file_removed count = {0};
    assert_int_equal(file_remove_tree(AT_FDCWD, path, &count), 0);
    assert_int_equal(count.files, 1500);
    assert_int_equal(access(path, F_OK), -1);
}

static void frames(void **state) {
    (void)state;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    cleanup(fd) int left = pair[0];
    cleanup(frame) struct frame f;
    frame_init(&f, pair[1]);
    int64_t soon = clock_boot_ms() + 2000;
    cJSON *json = NULL;
    assert_int_equal(send(left, "{\"a\":1}\nrubbish\n{\"b\"", 20, 0), 20);
    assert_int_equal(frame_recv(&f, -1, soon, &json), 0);
    assert_int_equal(json_int(json, "a", 0), 1);
    cJSON_Delete(json);
    assert_int_equal(frame_recv(&f, -1, soon, &json), ERR_INVALID);
    assert_int_equal(frame_recv(&f, -1, clock_boot_ms() + 20, &json), ERR_TIMEOUT);
    assert_int_equal(send(left, ":2}\n", 4, 0), 4);
    assert_int_equal(frame_recv(&f, -1, soon, &json), 0);
    assert_int_equal(json_int(json, "b", 0), 2);
    cJSON_Delete(json);
    (void)close(steal_fd(&left));
    assert_int_equal(frame_recv(&f, -1, soon, &json), ERR_UNREACHABLE);
    (void)close(pair[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buf_keeps_its_cap),
        cmocka_unit_test(base64url_round_trip),
        cmocka_unit_test(base64url_refuses),
        cmocka_unit_test(json_refuses),
        cmocka_unit_test(json_types),
        cmocka_unit_test(rfc3339),
        cmocka_unit_test(file_read_and_write),
        cmocka_unit_test(file_remove_tree_stays_inside),
        cmocka_unit_test(file_remove_tree_has_no_depth_limit),
        cmocka_unit_test(frames),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
