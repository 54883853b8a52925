/*
 * The Maildir's side of a pass: what readers did, from the watch's events where they tell everything, else
 * from reading the directories. On the engine's thread.
 */
#ifndef SATCHEL_AGENT_MAIL_SYNC_LOCAL_H
#define SATCHEL_AGENT_MAIL_SYNC_LOCAL_H

#include "agent/mail/sync/folder.h"

#define LOCAL_HINTS_MAX 20000 /* of a folder; more: it is read */

/* What became of the files. */
struct local {
    struct maildir_list list; /* the files that changed; stale ones only where the directories were read */
    uint32_t *gone;           /* owned: UIDs that went, by number */
    size_t n_gone, allocated;
    bool complete; /* what went is known */
};

void local_finish(struct local *l);
#define local_cleanup local_finish

void hints_finish(struct hints *h);

/* Takes in one event of a folder. */
int local_hint(struct sync_folder *f, const struct watch_event *event);

bool local_touched(const struct sync_folder *f);

/* Drops hints that tell no more than what is written down, as those of our own downloads. */
void local_forget(struct sync *s, struct sync_folder *f);

/* Where the directories have to be read: the files of readers alone, so that moves between folders show
 * before either is looked at. */
int local_foreign(struct sync *s, struct sync_folder *f);

/*
 * What happened since the last time. Files of readers are added to f->foreign; a message's second file
 * becomes one of them. Names of the folder under another UIDVALIDITY are in list.stale. The
 * hints are used up; after an error, or when the caller cannot use what was found, it sets f->hints.scan.
 */
int local_take(struct sync *s, struct sync_folder *f, const struct maildir *m, struct local *ret);

#endif
