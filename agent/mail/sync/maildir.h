/*
 * One folder of the Maildir: directories cur, new and tmp, whose files a reader may rename and remove at any
 * time. Files are told apart by their names (name.h); a file that is not ours by its name is never touched.
 *
 * A message is written to tmp/ as "satchel.part.N", and appears in cur/ or new/ by a rename when it is whole.
 * After a crash, what is left in tmp/ is removed by maildir_open(), and a placed file that is in no committed
 * row is what plan.h calls a stray.
 */
#ifndef SATCHEL_AGENT_MAIL_SYNC_MAILDIR_H
#define SATCHEL_AGENT_MAIL_SYNC_MAILDIR_H

#include "agent/mail/sync/name.h"
#include "agent/mail/sync/plan.h"

struct maildir {
    int cur;
    int fresh; /* new/ */
    int tmp;
};

#define MAILDIR_INIT                                                                                         \
    { .cur = -1, .fresh = -1, .tmp = -1 }
#define MAILDIR_VANISHED 1 /* a reader renamed or removed the file in the meantime */

enum maildir_place { MAILDIR_CUR, MAILDIR_NEW };

/*
 * Opens a folder below `root`, making what is missing, through no symbolic link. *ret_made: whether cur/ had
 * to be made. ERR_INVALID when something that is no directory is in the way, ERR_SYSTEM.
 */
int maildir_open(int root, const char *directory, bool *ret_made, struct maildir *ret);
void maildir_close(struct maildir *m);
#define maildir_cleanup maildir_close

/* Removes what an earlier run left in tmp/. */
int maildir_clean(const struct maildir *m);

struct maildir_list {
    struct plan_local *items; /* owned, by UID; `name` is an offset in `names` */
    size_t n;
    struct buf names;
    struct buf stale; /* NUL-terminated "c" or "n" and the name: of this mailbox under another UIDVALIDITY */
    bool steady;      /* nothing was renamed, added or removed while the list was made */
};

int maildir_scan(const struct maildir *m, uint32_t hash, uint32_t uidvalidity, struct maildir_list *ret);
void maildir_list_finish(struct maildir_list *list);
#define maildir_list_cleanup maildir_list_finish

/* Removes the stale files of a list. */
int maildir_remove_stale(const struct maildir *m, const struct maildir_list *list);

/* Gives the file other flags. 0, MAILDIR_VANISHED, ERR_SYSTEM. */
int maildir_set_flags(const struct maildir *m, const struct maildir_list *list, const struct plan_local *item,
                      unsigned flags);
int maildir_unlink(const struct maildir *m, const struct maildir_list *list, const struct plan_local *item);

/* A message being written. */
struct maildir_part {
    int fd;
    unsigned number;
};

int maildir_part_open(const struct maildir *m, unsigned number, struct maildir_part *ret);
int maildir_part_write(struct maildir_part *part, const char *data, size_t n);

/* Sets the file's time and closes it. */
int maildir_part_close(struct maildir_part *part, int64_t seconds);
void maildir_part_drop(const struct maildir *m, unsigned number);

/* Moves a finished part to its name. */
int maildir_place(const struct maildir *m, unsigned number, const struct name_message *message,
                  unsigned flags, enum maildir_place place);

/* fsync of the file just placed. */
int maildir_sync_file(const struct maildir *m, const struct name_message *message, unsigned flags,
                      enum maildir_place place);
int maildir_sync_dirs(const struct maildir *m);

/* Removes a folder that has left the server: our files of the mailbox, then the directories that are empty.
 */
int maildir_remove(int root, const char *directory, uint32_t hash);

#endif
