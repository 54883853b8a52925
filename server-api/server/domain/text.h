/*
 * Texts that people and devices give us: UTF-8 without control characters, so that they can be stored, shown
 * in a terminal and logged as they are.
 */
#ifndef SATCHEL_SERVER_DOMAIN_TEXT_H
#define SATCHEL_SERVER_DOMAIN_TEXT_H

#include <stddef.h>

/* ERR_INVALID with a sentence that begins with `what`, unless `text` has 1 to `max` bytes of such UTF-8. */
int text_check(const char *what, const char *text, size_t max);

#endif
