/*
 * Swap space: where memory may be written to disk, and whether that is encrypted there. Read from /proc and
 * /sys each time. Any thread.
 */
#ifndef SATCHEL_LINUX_SWAP_H
#define SATCHEL_LINUX_SWAP_H

#include <stdbool.h>
#include <stddef.h>

#define SWAP_MAX 16

struct swap {
    char name[128]; /* "/dev/vda2", "/swapfile"; cut where longer */
    bool encrypted; /* by dm-crypt somewhere below, or compressed memory (zram) */
};

struct swaps {
    struct swap list[SWAP_MAX];
    size_t n;
};

/* ERR_SYSTEM where /proc/swaps cannot be read. More than SWAP_MAX areas: the rest is left out. */
int swap_look(struct swaps *ret);

/* The next name in the text of /proc/swaps, unescaped; *text moves behind its line. False at the end. */
bool swap_next(const char **text, char *name, size_t size);

/* Whether the block device `name` ("dm-0") lies on dm-crypt, by the directory `sys` ("/sys/class/block"). */
bool swap_is_encrypted(const char *sys, const char *name);

#endif
