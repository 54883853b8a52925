/* A profile: what passes strictly passes leniently too, and has what its readers rely on. */
#include "platform/base/cleanup.h"
#include "platform/base/json.h"
#include "server-api/contract/profile.h"
#include "tests/fuzz/server/fuzz.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    cleanup(cJSON) cJSON *json = NULL;
    if (json_parse((const char *)data, size, &json) < 0)
        return 0;
    struct profile_problems problems;
    bool strict = profile_check(json, PROFILE_PUBLISHED, &problems) == 0;
    if (strict != (problems.n == 0))
        abort();
    bool lenient = profile_check(json, PROFILE_RECEIVED, &problems) == 0;
    if (strict && !lenient)
        abort();
    if (!lenient)
        return 0;
    const char *protocol = json_str(profile_incoming(json), "protocol");
    const struct profile_user user = {"anna", "anna@acme.example", "Anna"};
    cleanup(cJSON) cJSON *filled = profile_for_user(json, &user);
    if (!filled || !protocol || strcmp(protocol, "imap") != 0 || profile_version(json) < 1 ||
        !profile_id(json) || profile_check_in_seconds(json) < 1 || profile_keep_days(json) < 0)
        abort();
    return 0;
}
