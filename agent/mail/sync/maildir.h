/*
 * One folder of the Maildir: directories cur, new and tmp, whose files a reader may rename, change and remove
 * at any time. A file with a name of name.h is the copy of a message of the mailbox with that hash; its time
 * is INTERNALDATE, so that a text that was edited in place shows. Every other file is a reader's own.
 *
 * A message appears whole: it is written to tmp/ as "satchel.part.UIDVALIDITY_UID" and renamed. While a
 * folder is copied for the first time, short messages are made in place, by one write: a file that is in no
 * committed row counts for nothing, and is what plan.h calls a stray.
 */
#ifndef SATCHEL_AGENT_MAIL_SYNC_MAILDIR_H
#define SATCHEL_AGENT_MAIL_SYNC_MAILDIR_H

#include "agent/mail/sync/content.h"
#include "agent/mail/sync/name.h"
#include "agent/mail/sync/plan.h"

#include <time.h>

struct maildir {
    int folder; /* the directory that holds the others */
    int cur;
    int fresh; /* new/ */
    int tmp;
    uint32_t hash, uidvalidity; /* of the names of our files here */
};

#define MAILDIR_INIT                                                                                         \
    { .folder = -1, .cur = -1, .fresh = -1, .tmp = -1 }
#define MAILDIR_VANISHED 1 /* a reader renamed or removed the file, or the folder, in the meantime */
#define MAILDIR_NAME_MAX 256

enum maildir_place { MAILDIR_CUR, MAILDIR_NEW };

/*
 * Opens a folder below `root`, through no symbolic link. With `make`, what is missing is made, and *ret_made
 * tells whether cur/ had to be; else MAILDIR_VANISHED. ERR_INVALID when something that is no directory is in
 * the way, ERR_SYSTEM.
 */
int maildir_open(int root, const char *directory, bool make, bool *ret_made, struct maildir *ret);
void maildir_close(struct maildir *m);
#define maildir_cleanup maildir_close

struct maildir_list {
    struct plan_local *items; /* owned, by UID */
    size_t n;
    struct buf names;   /* where `odd` of the items points into */
    struct buf stale;   /* entries: of this mailbox under another UIDVALIDITY */
    struct buf foreign; /* entries: of readers, and of other mailboxes */
    struct buf extra;   /* entries: a second file of a message */
    bool steady;        /* nothing was renamed, added or removed while the list was made */
};

/* An entry is 'c' or 'n' for cur or new, the file's name, NUL. */
int maildir_entry(struct buf *entries, enum maildir_place place, const char *name);
bool maildir_has_entry(const struct buf *entries, enum maildir_place place, const char *name);
static inline enum maildir_place maildir_entry_place(const char *entry) {
    return *entry == 'n' ? MAILDIR_NEW : MAILDIR_CUR;
}

/* Lists the folder, and looks at the time of every file of ours for `edited`. */
int maildir_scan(const struct maildir *m, struct maildir_list *ret);
void maildir_list_finish(struct maildir_list *list);
#define maildir_list_cleanup maildir_list_finish

/* Only the entries of readers. */
int maildir_foreign(const struct maildir *m, struct buf *ret);

/* The file of an item. `names` is that of its list; may be NULL while no item is odd. In new/ it is also
 * looked for when it is not where the item says. All of them: MAILDIR_VANISHED, ERR_SYSTEM. */
int maildir_set_flags(const struct maildir *m, const struct buf *names, const struct plan_local *item,
                      uint32_t flags);
int maildir_unlink(const struct maildir *m, const struct buf *names, const struct plan_local *item);
int maildir_exists(const struct maildir *m, const struct buf *names, const struct plan_local *item);

/* Whether its text differs from what was written with that size and checksum; where only its time differs,
 * that is set right. */
int maildir_is_edited(const struct maildir *m, const struct buf *names, const struct plan_local *item,
                      uint64_t size, uint32_t crc, bool *ret);

/* Size and checksums. MAILDIR_VANISHED. */
int maildir_measure(const struct maildir *m, const struct plan_local *item, struct content *ret);

/* Gives it a reader's name, and adds that to `foreign`. */
int maildir_detach(const struct maildir *m, const struct buf *names, const struct plan_local *item,
                   struct buf *foreign);

/* A file of an entry: opens it for reading (a regular file, through no link; ERR_INVALID: it is none),
 * removes it, or detaches it. */
int maildir_entry_open(const struct maildir *m, const char *entry, int *ret_fd);
int maildir_entry_unlink(const struct maildir *m, const char *entry);
int maildir_entry_detach(const struct maildir *m, const char *entry, struct buf *foreign);

/* Sets its time right, where only that differs from what was written with that size and checksum. */
int maildir_entry_settle(const struct maildir *m, const char *entry, uint32_t seconds, uint64_t size,
                         uint32_t crc);

/* Makes it the copy of a message: name, time and flags. `read` is the time that it had when it was read:
 * where it has another one by now, that stays, so that the edit shows. */
int maildir_entry_adopt(const struct maildir *m, const char *entry, const struct timespec *read, uint32_t uid,
                        uint32_t seconds, uint32_t flags);

/* A message that comes down. */
struct maildir_part {
    int fd;
    uint32_t uid;
};

/* Opens the part of a message. `from` bytes of it are kept (0: a new one); *ret_have tells how many there
 * really are. */
int maildir_part_open(const struct maildir *m, uint32_t uid, int64_t from, int64_t *ret_have,
                      struct maildir_part *ret);
int maildir_part_write(struct maildir_part *part, const char *data, size_t n);
void maildir_part_close(struct maildir_part *part);
void maildir_part_drop(const struct maildir *m, uint32_t uid);

/* Sets the time of an open part, closes it, and moves it to the name of message `uid`. Without flags it goes
 * to `unread`. */
int maildir_part_place(const struct maildir *m, struct maildir_part *part, uint32_t uid, uint32_t seconds,
                       uint32_t flags, enum maildir_place unread);

/* Makes a message in place, in one write. */
int maildir_create(const struct maildir *m, uint32_t uid, uint32_t seconds, uint32_t flags,
                   enum maildir_place unread, const char *data, size_t n);

/* fsync of a file that was placed with these. MAILDIR_VANISHED. */
int maildir_sync_file(const struct maildir *m, uint32_t uid, uint32_t seconds, uint32_t flags,
                      enum maildir_place unread);
int maildir_sync_dirs(const struct maildir *m);

/* Removes parts in tmp/ that `keep` does not want. */
int maildir_clean(const struct maildir *m, bool (*keep)(void *ctx, uint32_t uid), void *ctx);

/* Removes a folder that has left the server: our files of the mailbox, then the directories that are empty.
 * What a reader made, or edited, stays, and *ret_left tells of it. */
int maildir_remove(int root, const char *directory, uint32_t hash, bool *ret_left);

/* Moves cur, new, tmp and the keywords of a folder to another directory; what is there already stays, beside
 * them. MAILDIR_VANISHED, ERR_REFUSED. */
int maildir_rename(int root, const char *from, const char *to);

#endif
