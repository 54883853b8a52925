/*
 * Directories below the Maildir's root, opened through no symbolic link and into no other file system. Any
 * thread.
 */
#ifndef SATCHEL_AGENT_MAIL_SYNC_BENEATH_H
#define SATCHEL_AGENT_MAIL_SYNC_BENEATH_H

/* A descriptor, or -1 with errno. */
int beneath_open(int root, const char *path);

/* Makes the directories of `path` one by one and opens the last. ERR_INVALID, ERR_TOO_LARGE, ERR_SYSTEM. */
int beneath_make(int root, const char *path, int *ret);

/* The same for the directory that `path` lies in; `*ret_name` is the rest of it, borrowed. */
int beneath_parent(int root, const char *path, int *ret, const char **ret_name);

/* The error for errno after beneath_open(). ERR_INVALID: something that is no directory is in the way. */
int beneath_error(void);

#endif
