/* Whatever a server calls its mailboxes and a reader its files: no path leaves the root, and names survive
 * both ways. */
#include "agent/mail/sync/keyword.h"
#include "agent/mail/sync/name.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_component(const char *text, size_t n) {
    if (n == 0 || n > NAME_COMPONENT_MAX || text[0] == '.')
        abort();
    if (n == 3 && (memcmp(text, "cur", 3) == 0 || memcmp(text, "new", 3) == 0 || memcmp(text, "tmp", 3) == 0))
        abort();
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            abort();
}

/* A directory leads to a mailbox, if at all, that leads to it again. */
static void check_back(const char *directory, char delimiter) {
    struct buf mailbox = {0}, again = {0};
    if (name_mailbox(directory, delimiter, &mailbox) == 0 &&
        (name_folder(mailbox.data, mailbox.len, delimiter, &again) != 0 ||
         strcmp(again.data, directory) != 0))
        abort();
    buf_finish(&mailbox);
    buf_finish(&again);
}

static void check_keywords(const char *text, size_t n) {
    struct keywords k = {0}, again = {0};
    struct buf out = {0};
    keyword_parse(&k, text, n);
    if (keyword_text(&k, &out) < 0)
        abort();
    keyword_parse(&again, out.data ? out.data : "", out.len);
    for (int i = 0; i < FLAGS_SLOTS; i++)
        if (!k.names[i] != !again.names[i] || (k.names[i] && strcmp(k.names[i], again.names[i]) != 0))
            abort();
    buf_finish(&out);
    keyword_finish(&k);
    keyword_finish(&again);
}

static void check_folder(const char *mailbox, size_t n, char delimiter) {
    struct buf out = {0};
    if (name_folder(mailbox, n, delimiter, &out) == 0) {
        if (out.len == 0 || out.len > NAME_PATH_MAX || strlen(out.data) != out.len)
            abort();
        for (const char *part = out.data; part;) {
            const char *end = strchr(part, '/');
            check_component(part, end ? (size_t)(end - part) : strlen(part));
            part = end ? end + 1 : NULL;
        }
        check_back(out.data, delimiter);
    } else if (out.len != 0) {
        abort();
    }
    buf_finish(&out);
    (void)name_hash(mailbox, n);
}

static void check_file(const char *file, uint32_t flags) {
    struct name_message m;
    const char *suffix = NULL;
    char again[NAME_MESSAGE_SIZE], first[NAME_SUFFIX_MAX], second[NAME_SUFFIX_MAX];
    if (name_parse(file, &m, &suffix)) {
        size_t n = name_message(&m, again);
        if (strncmp(file, again, n) != 0 || suffix != file + n)
            abort();
        file = suffix;
    }
    name_suffix(file, flags, first);
    name_suffix(first, flags, second);
    if (name_flags(first, NULL) != flags || strcmp(first, second) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    if (n < 2)
        return 0;
    char *text = malloc(n);
    if (!text)
        return 0;
    memcpy(text, data + 1, n - 1);
    text[n - 1] = '\0';
    static const char delimiters[] = {'/', '.', '\0', '\\', 'a', '&', '-', ' '};
    check_folder(text, n - 1, delimiters[data[0] % sizeof delimiters]);
    check_back(text, delimiters[data[0] % sizeof delimiters]);
    check_file(text, data[0] * 0x01010101U);
    check_keywords(text, n - 1);
    free(text);
    return 0;
}
