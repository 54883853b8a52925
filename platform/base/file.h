/*
 * Files. Everything is relative to a directory descriptor and follows no symbolic link in the last component;
 * what is written atomically survives a crash whole or not at all.
 */
#ifndef SATCHEL_BASE_FILE_H
#define SATCHEL_BASE_FILE_H

#include "platform/base/buf.h"

#include <stdint.h>
#include <sys/types.h>

/* Appends the whole regular file to `ret`. ERR_NOT_FOUND, ERR_TOO_LARGE over `max` bytes, ERR_SYSTEM. */
int file_read(int dir, const char *name, size_t max, struct buf *ret);

/* Replaces `name` by `n` bytes: temporary file beside it, fsync, rename, fsync of the directory. */
int file_write_atomic(int dir, const char *name, const void *data, size_t n, mode_t mode);

/* Makes the directory and its parents (new ones with `mode`) and opens it into *ret_fd. */
int file_make_dirs(const char *path, mode_t mode, int *ret_fd);

/* Removes `name` if it is there and makes the removal durable. 0 also where there was nothing. */
int file_remove(int dir, const char *name);

struct file_removed {
    uint64_t files; /* all but directories */
    uint64_t bytes; /* of regular files with one link: what the removal gave back */
};

/*
 * Removes `name` and everything below it, by descriptor, never through a symbolic link (the link itself is
 * removed; where the directory that holds `name` is one, ERR_REFUSED) and never into another file system or a
 * bind mount (ERR_REFUSED, told and left alone), also while somebody changes the tree. Nothing is moved.
 * Directories of ours that are write protected are made writable first. Adds to `count` (may be NULL). Goes
 * on after a failure and returns the first one. 0 also where there was nothing.
 */
int file_remove_tree(int dir, const char *name, struct file_removed *count);

#endif
