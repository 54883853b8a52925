/*
 * The employee's own record, activity.jsonl in the state directory: what the company asked for and what the
 * agent did, in plain words, one JSON object a line ({"at","what","text"}). Append-only; kept after a wipe
 * until the employee removes it. Any thread.
 */
#ifndef SATCHEL_STATE_ACTIVITY_H
#define SATCHEL_STATE_ACTIVITY_H

#include <cjson/cJSON.h>

/* `what` is a stable word ("enrolled", "wipe"), the rest a sentence. A failure is logged, not returned: the
 * record must not stop the work. */
void activity_add(int state_dir, const char *what, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The last `most` entries, oldest first, as a JSON array. A torn last line is passed over. */
int activity_list(int state_dir, int most, cJSON **ret);

/* Removes the record: the employee's decision alone. 0 also without one. */
int activity_remove(int state_dir);

#endif
