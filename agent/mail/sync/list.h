/*
 * The account's folders: LIST and STATUS of the server against what the state database knows. On the engine's
 * thread.
 */
#ifndef SATCHEL_AGENT_MAIL_SYNC_LIST_H
#define SATCHEL_AGENT_MAIL_SYNC_LIST_H

#include "agent/mail/sync/folder.h"

#define LIST_FOLDERS_MAX 10000

struct folder_list {
    struct sync_folder **items; /* owned; INBOX first, then by name */
    size_t n, allocated;
    char delimiter; /* of the hierarchy, 0: none */
    bool changed;   /* the server said that mailboxes came, went or changed their names */
    bool homeless;  /* a reader made a folder that cannot be made on the server: removed messages may be in it
                     */
    bool waiting;   /* likewise one whose name is not free yet, but will be */
    char problem[200]; /* mailboxes that were passed over, for a person; empty: none */
    char trouble[200]; /* folders of readers that cannot go up; likewise */
};

void folder_list_finish(struct folder_list *l);

/* Takes in what LIST and STATUS say; what is not named any more stays, without `listed` (renamed.h). */
int folder_list_update(struct sync *s, struct folder_list *l);

/* INBOX first, then by directory. */
void folder_list_sort(struct folder_list *l);

/* A STATUS or LIST response, or [NOTIFICATIONOVERFLOW], that came at any time (imap_session.on_mailbox; `ctx`
 * is the struct sync). */
void folder_list_on_mailbox(void *ctx, const struct imap_parser *p);

/* Adds the folder of a mailbox that was made on the server. */
int folder_list_add(struct sync *s, struct folder_list *l, const char *mailbox, const char *directory);

/* Forgets a folder that is gone on both sides. */
int folder_list_drop(struct sync *s, struct folder_list *l, struct sync_folder *f);

struct folder_rename {
    struct sync_folder *folder;
    const char *mailbox, *directory;
    bool renamed; /* the server is still to follow the directory */
};

/* Writes down new names of folders, all at once. */
int folder_list_rename(struct sync *s, const struct folder_rename *list, size_t n);

/* Sets `asks`, and says so, where so many messages go with the folder that the employee is asked. `what`
 * became of it, and what stays as it is `until` then, in words. */
int folder_list_ask(struct sync *s, struct sync_folder *f, const char *what, const char *until);

/* The directory that a mailbox has of right; as name_folder(). */
int folder_list_home(const struct folder_list *l, const char *mailbox, struct buf *ret);

/* Whether a pass is needed: something happened here, or the server's numbers differ, or it has no
 * HIGHESTMODSEQ. */
bool folder_list_needs_pass(const struct sync_folder *f);

struct sync_folder *folder_list_find(const struct folder_list *l, int64_t id);
struct sync_folder *folder_list_find_mailbox(const struct folder_list *l, const char *mailbox, size_t n);
struct sync_folder *folder_list_find_directory(const struct folder_list *l, const char *directory);

#endif
