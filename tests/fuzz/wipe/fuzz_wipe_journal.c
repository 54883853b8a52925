/*
 * wipe_journal_parse() on any bytes: what it takes, it takes again when it is printed, and every step can be
 * found.
 */
#include "agent/wipe/wipe_journal.h"
#include "platform/base/err.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    cleanup(cJSON) cJSON *journal = NULL, *again = NULL;
    cleanup(free) char *text = malloc(size ? size : 1);
    assert(text);
    memcpy(text, data, size);
    int r = wipe_journal_parse(text, size, &journal);
    if (r < 0) {
        assert(r == ERR_INVALID || r == ERR_SYSTEM || r == ERR_TOO_LARGE);
        return 0;
    }
    cleanup(free) char *printed = json_print(journal);
    assert(printed && strlen(printed) > 0);
    assert(wipe_journal_parse(printed, strlen(printed), &again) == 0);
    assert(wipe_journal_step(journal, "verify") && json_object(journal, "cause"));
    return 0;
}
