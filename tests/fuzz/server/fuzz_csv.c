/* A CSV file of users. */
#include "platform/base/err.h"
#include "server-api/server/domain/csv.h"
#include "server-api/server/domain/user.h"
#include "tests/fuzz/server/fuzz.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct csv c;
    csv_init(&c, (const char *)data, size);
    size_t line = 0, records = 0;
    for (int r; (r = csv_next(&c)) != 0;) {
        struct store_user user;
        if (c.line < line || records++ > size || (r == 1 && (c.n == 0 || c.n > CSV_FIELDS_MAX)))
            abort();
        line = c.line;
        if (r == 1 && c.n == 3 && user_make(c.fields[0], c.fields[1], c.fields[2], &user) == 0 &&
            (!strchr(user.address, '@') || strpbrk(user.login, "\r\n\t /") || strpbrk(user.name, "\r\n\x1b")))
            abort();
    }
    csv_finish(&c);
    return 0;
}
