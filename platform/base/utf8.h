/*
 * UTF-8 (RFC 3629) as bytes: whether a text is well-formed. What a company publishes must be, since every
 * device shows it.
 */
#ifndef SATCHEL_BASE_UTF8_H
#define SATCHEL_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Length of the well-formed sequence at `p` in a NUL-terminated text, its code point in *ret; 0 when
 * malformed. */
size_t utf8_sequence(const unsigned char *p, uint32_t *ret);

/* Controls, and what turns the direction of a line round or breaks it: nothing that a person is to be shown.
 */
bool utf8_is_control(uint32_t code);

/* Whether a NUL-terminated text is well-formed throughout. */
bool utf8_valid(const char *text);

#endif
