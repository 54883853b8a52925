/* The record of the last contact, from a disk that somebody had his hands on: what is accepted is written as
 * it was read, and counting on from it never takes anything back, overflows, or wipes by a clock alone. */
#include "agent/state/contact.h"
#include "platform/base/buf.h"
#include "platform/base/cleanup.h"
#include "tests/fuzz/server/fuzz.h"

#include <stdlib.h>
#include <string.h>

static void fuzz_count(struct contact *c) {
    static const struct contact_clock moments[] = {{"b", 0, 0},
                                                   {"b", INT64_C(1) << 50, INT64_C(1) << 50},
                                                   {"c", 1000, 5},
                                                   {"c", 2000, INT64_C(1) << 52}};
    for (size_t i = 0; i < sizeof moments / sizeof *moments; i++) {
        struct contact before = *c;
        int64_t ran = moments[i].boot_ms - (strcmp(c->boot, moments[i].boot) == 0 ? c->boot_ms : 0);
        contact_tick(c, &moments[i], 1000);
        if (c->counted_ms < before.counted_ms || c->sure_ms < before.sure_ms || c->counted_ms > CONTACT_EVER)
            abort();
        if (c->sure_ms > 1000 && c->sure_ms > before.sure_ms + (ran > 0 ? ran : 0))
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct contact c, again;
    if (contact_parse((const char *)data, size, &c) < 0)
        return 0;
    cleanup(free) char *text = contact_print(&c);
    if (!text || contact_parse(text, strlen(text), &again) < 0 || strcmp(c.stamp, again.stamp) != 0 ||
        c.counted_ms != again.counted_ms || c.sure_ms != again.sure_ms || c.warned != again.warned)
        abort();
    fuzz_count(&c);
    return 0;
}
