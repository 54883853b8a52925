/*
 * A download in one line: "1234/2000 messages, 12.3/20.1 MB, 812/s, 8.2 MB/s, 2 s left", on a terminal behind
 * a bar. Takes satcheld's progress document (agent/state/progress.h).
 */
#ifndef SATCHEL_CLI_BAR_H
#define SATCHEL_CLI_BAR_H

#include "platform/base/json.h"

#define BAR_TEXT 200

/* The words. */
void bar_text(const cJSON *progress, char ret[BAR_TEXT]);

/* Draws bar and words over the line of standard error, as wide as the terminal is; bar_clear() takes them
 * away. */
void bar_draw(const cJSON *progress);
void bar_clear(void);

#endif
