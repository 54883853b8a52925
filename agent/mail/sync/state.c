#include "agent/mail/sync/state.h"
#include "agent/mail/sync/hook.h"
#include "agent/mail/sync/name.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/base/log.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STATE_VERSION 3

enum {
    FOLDER_GET,
    FOLDER_HASH,
    FOLDER_ADD,
    FOLDER_PUT,
    FOLDER_RENAME,
    FOLDER_RESET,
    FOLDER_REMOVE,
    FOLDERS,
    MESSAGES,
    MESSAGES_REMOVE,
    MESSAGE_GET,
    MESSAGE_PUT,
    MESSAGE_FLAGS,
    MESSAGE_KIND,
    MESSAGE_PART,
    MESSAGE_REMOVE,
    RANGE,
    WANTED_SMALL,
    WANTED_LARGE,
    NEWEST,
    AGED,
    WANT_YOUNG,
    WANT_LOST,
    COUNT_FOLDER,
    COUNT_ALL,
    KEYWORDS,
    KEYWORDS_REMOVE,
    KEYWORD_PUT,
    UPLOAD_ADD,
    UPLOAD_REMOVE,
    UPLOADS_REMOVE,
    UPLOADS,
    STATEMENTS,
};

#define FOLDER_COLUMNS "id, hash, uidvalidity, uidnext, modseq, messages, inode, object, renamed"

/* Kinds of messages are those of enum plan_message. */
static const char *const sql[STATEMENTS] = {
    [FOLDER_GET] = "SELECT " FOLDER_COLUMNS ", directory FROM folder WHERE mailbox = ?1",
    [FOLDER_HASH] = "SELECT 1 FROM folder WHERE hash = ?1",
    [FOLDER_ADD] = "INSERT INTO folder (mailbox, directory, hash) VALUES (?1, ?2, ?3)",
    [FOLDER_PUT] = "UPDATE folder SET uidvalidity = ?2, uidnext = ?3, modseq = ?4, messages = ?5, inode = ?6,"
                   " object = ?7 WHERE id = ?1",
    [FOLDER_RENAME] = "UPDATE folder SET mailbox = ?2, directory = ?3, renamed = ?4 WHERE id = ?1",
    [FOLDER_RESET] =
        "UPDATE folder SET uidvalidity = ?2, uidnext = 0, modseq = 0, messages = 0 WHERE id = ?1",
    [FOLDER_REMOVE] = "DELETE FROM folder WHERE id = ?1",
    [FOLDERS] = "SELECT mailbox, directory, " FOLDER_COLUMNS " FROM folder ORDER BY id",
    [MESSAGES] = "SELECT uid, kind, flags, local, seconds FROM message WHERE folder = ?1 ORDER BY uid",
    [MESSAGES_REMOVE] = "DELETE FROM message WHERE folder = ?1",
    [MESSAGE_GET] = "SELECT kind, flags, local, seconds, size, crc, part FROM message WHERE folder = ?1 AND"
                    " uid = ?2",
    [MESSAGE_PUT] =
        "INSERT OR REPLACE INTO message (folder, uid, kind, flags, local, seconds, size, crc, part)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    [MESSAGE_FLAGS] = "UPDATE message SET flags = ?3, local = ?4 WHERE folder = ?1 AND uid = ?2",
    [MESSAGE_KIND] = "UPDATE message SET kind = ?3, part = -1 WHERE folder = ?1 AND uid = ?2",
    [MESSAGE_PART] = "UPDATE message SET part = ?3 WHERE folder = ?1 AND uid = ?2",
    [MESSAGE_REMOVE] = "DELETE FROM message WHERE folder = ?1 AND uid = ?2",
    [RANGE] = "SELECT uid FROM message WHERE folder = ?1 AND uid BETWEEN ?2 AND ?3 ORDER BY uid",
    [WANTED_SMALL] = "SELECT uid FROM message WHERE folder = ?1 AND kind = 3 AND part < 0 AND uid < ?2"
                     " ORDER BY uid DESC LIMIT ?3",
    [WANTED_LARGE] = "SELECT uid FROM message WHERE folder = ?1 AND kind = 3 AND part >= 0 AND uid < ?2"
                     " ORDER BY uid DESC LIMIT ?3",
    [NEWEST] =
        "SELECT uid FROM message WHERE folder = ?1 AND kind = 0 AND uid < ?2 ORDER BY uid DESC LIMIT 1",
    [AGED] = "SELECT uid, kind, flags, local, seconds FROM message WHERE folder = ?1 AND kind = 0 AND"
             " seconds < ?2 AND flags = local LIMIT ?3",
    [WANT_YOUNG] = "UPDATE message SET kind = 3, part = -1 WHERE folder = ?1 AND kind = 2 AND seconds >= ?2",
    [WANT_LOST] = "UPDATE message SET kind = 3, part = -1 WHERE folder = ?1 AND kind = 0",
    [COUNT_FOLDER] = "SELECT count(*) FILTER (WHERE kind = 0), count(*) FILTER (WHERE kind = 3), count(*)"
                     " FROM message WHERE folder = ?1",
    [COUNT_ALL] = "SELECT count(*) FILTER (WHERE kind = 0), count(*) FILTER (WHERE kind = 3), count(*)"
                  " FROM message",
    [KEYWORDS] = "SELECT slot, name FROM keyword WHERE folder = ?1",
    [KEYWORDS_REMOVE] = "DELETE FROM keyword WHERE folder = ?1",
    [KEYWORD_PUT] = "INSERT INTO keyword (folder, slot, name) VALUES (?1, ?2, ?3)",
    [UPLOAD_ADD] = "INSERT INTO upload (folder, name, uidnext, wire_size, wire_crc, message_id, flags)"
                   " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [UPLOAD_REMOVE] = "DELETE FROM upload WHERE id = ?1",
    [UPLOADS_REMOVE] = "DELETE FROM upload WHERE folder = ?1",
    [UPLOADS] =
        "SELECT id, folder, name, uidnext, wire_size, wire_crc, message_id, flags FROM upload ORDER BY id",
};

static const char schema[] =
    "CREATE TABLE folder (id INTEGER PRIMARY KEY AUTOINCREMENT, mailbox TEXT NOT NULL UNIQUE,"
    " directory TEXT NOT NULL UNIQUE, hash INTEGER NOT NULL, uidvalidity INTEGER NOT NULL DEFAULT 0,"
    " uidnext INTEGER NOT NULL DEFAULT 0, modseq INTEGER NOT NULL DEFAULT 0,"
    " messages INTEGER NOT NULL DEFAULT 0, inode INTEGER NOT NULL DEFAULT 0,"
    " object INTEGER NOT NULL DEFAULT 0, renamed INTEGER NOT NULL DEFAULT 0) STRICT;"
    "CREATE TABLE message (folder INTEGER NOT NULL, uid INTEGER NOT NULL, kind INTEGER NOT NULL,"
    " flags INTEGER NOT NULL, local INTEGER NOT NULL, seconds INTEGER NOT NULL, size INTEGER NOT NULL,"
    " crc INTEGER NOT NULL, part INTEGER NOT NULL, PRIMARY KEY (folder, uid)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE keyword (folder INTEGER NOT NULL, slot INTEGER NOT NULL, name TEXT NOT NULL,"
    " PRIMARY KEY (folder, slot)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE upload (id INTEGER PRIMARY KEY AUTOINCREMENT, folder INTEGER NOT NULL, name TEXT NOT NULL,"
    " uidnext INTEGER NOT NULL, wire_size INTEGER NOT NULL, wire_crc INTEGER NOT NULL,"
    " message_id INTEGER NOT NULL, flags INTEGER NOT NULL) STRICT;"
    "PRAGMA user_version = 3;";

struct state {
    sqlite3 *db;
    sqlite3_stmt *prepared[STATEMENTS];
    /* Counts, kept along: counting a hundred thousand rows takes longer than everything else in a pass in
     * which nothing happened. Forgotten after a rollback. */
    struct counted {
        int64_t folder;
        struct state_counts counts;
    } * counted; /* owned */
    size_t n_counted;
    struct state_counts all;
    bool all_known;
};

static int state_error(struct state *s, const char *what) {
    if (s->db && sqlite3_errcode(s->db) == SQLITE_FULL)
        return err_set(ERR_SYSTEM, "the sync state: %s: no space left on the device", what);
    return err_set(ERR_SYSTEM, "the sync state: %s: %s", what,
                   s->db ? sqlite3_errmsg(s->db) : "out of memory");
}

static int state_exec(struct state *s, const char *text) {
    return sqlite3_exec(s->db, text, NULL, NULL, NULL) == SQLITE_OK ? 0 : state_error(s, "cannot write");
}

void state_close(struct state *s) {
    if (!s)
        return;
    for (int i = 0; i < STATEMENTS; i++)
        (void)sqlite3_finalize(s->prepared[i]);
    (void)sqlite3_close(s->db);
    free(s->counted);
    free(s);
}

static void state_cleanup(struct state **s) {
    state_close(*s);
}

/* One integer of a pragma, or -1. */
static int64_t state_pragma(struct state *s, const char *text) {
    sqlite3_stmt *q = NULL;
    int64_t value = -1;
    if (sqlite3_prepare_v2(s->db, text, -1, &q, NULL) == SQLITE_OK && sqlite3_step(q) == SQLITE_ROW)
        value = sqlite3_column_int64(q, 0);
    (void)sqlite3_finalize(q);
    return value;
}

static bool state_is_sound(struct state *s) {
    sqlite3_stmt *q = NULL;
    bool sound = sqlite3_prepare_v2(s->db, "PRAGMA quick_check(1)", -1, &q, NULL) == SQLITE_OK &&
                 sqlite3_step(q) == SQLITE_ROW && strcmp((const char *)sqlite3_column_text(q, 0), "ok") == 0;
    (void)sqlite3_finalize(q);
    return sound;
}

/* 1: the file is damaged or of another version. */
static int state_try(const char *path, struct state **ret) {
    cleanup(state) struct state *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(ERR_SYSTEM, "out of memory");
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(path, &s->db, flags, NULL) != SQLITE_OK)
        return state_error(s, "cannot open");
    (void)sqlite3_busy_timeout(s->db, 2000);
    /* Exclusive: one writer, and no shared-memory file, which a FUSE file system may not offer. */
    int code =
        sqlite3_exec(s->db,
                     "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                     "PRAGMA temp_store = MEMORY; PRAGMA cache_size = -256; BEGIN IMMEDIATE; COMMIT;",
                     NULL, NULL, NULL);
    if (code == SQLITE_BUSY)
        return err_set(ERR_SYSTEM, "another process is syncing into this vault");
    if (code == SQLITE_NOTADB || code == SQLITE_CORRUPT)
        return 1;
    if (code != SQLITE_OK)
        return state_error(s, "cannot open");
    if (!state_is_sound(s))
        return 1;
    int64_t version = state_pragma(s, "PRAGMA user_version");
    if (version != 0 && version != STATE_VERSION)
        return 1;
    if (version == 0) {
        char *text = sqlite3_mprintf("BEGIN;%sCOMMIT;", schema);
        int r = text ? state_exec(s, text) : err_set(ERR_SYSTEM, "out of memory");
        sqlite3_free(text);
        if (r < 0)
            return r;
    }
    for (int i = 0; i < STATEMENTS; i++)
        if (sqlite3_prepare_v3(s->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT, &s->prepared[i], NULL) !=
            SQLITE_OK)
            return state_error(s, "cannot read");
    *ret = steal(s);
    return 0;
}

int state_open(const char *path, bool *ret_new, struct state **ret) {
    bool is_new = access(path, F_OK) != 0;
    int r = state_try(path, ret);
    if (r == 0)
        *ret_new = is_new;
    if (r != 1)
        return r;
    log_warning("the sync state is damaged: making the copy again from the server");
    static const char *const parts[] = {"", "-wal", "-journal", "-shm"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char name[4096];
        (void)snprintf(name, sizeof name, "%s%s", path, parts[i]);
        (void)unlink(name);
    }
    r = state_try(path, ret);
    if (r == 0)
        *ret_new = true;
    return r == 1 ? err_set(ERR_SYSTEM, "the sync state cannot be made again") : r;
}

int state_begin(struct state *s) {
    return state_exec(s, "BEGIN IMMEDIATE");
}

int state_commit(struct state *s) {
    int r = state_exec(s, "COMMIT");
    if (r < 0)
        state_rollback(s);
    return r;
}

/* -- counts --------------------------------------------------------------------------------------------- */

static void counts_forget(struct state *s) {
    s->n_counted = 0;
    s->all_known = false;
}

void state_rollback(struct state *s) {
    if (sqlite3_get_autocommit(s->db))
        return;
    (void)sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    counts_forget(s);
}

static void count_one(struct state_counts *c, int kind, int by) {
    if (kind < 0)
        return;
    c->have += kind == PLAN_HAVE ? by : 0;
    c->wanted += kind == PLAN_WANTED ? by : 0;
    c->all += by;
}

/* A message was of one kind (-1: was not there) and is of another now. */
static void counts_change(struct state *s, int64_t folder, int from, int to) {
    for (size_t i = 0; i < s->n_counted; i++)
        if (s->counted[i].folder == folder) {
            count_one(&s->counted[i].counts, from, -1);
            count_one(&s->counted[i].counts, to, 1);
        }
    count_one(&s->all, from, -1);
    count_one(&s->all, to, 1);
}

/* Binds integers to ?1.. */
static sqlite3_stmt *state_bind(struct state *s, int which, int n, const int64_t *values) {
    sqlite3_stmt *q = s->prepared[which];
    for (int i = 0; i < n; i++)
        (void)sqlite3_bind_int64(q, i + 1, values[i]);
    return q;
}

/* Runs a statement that gives no rows. */
static int state_step(struct state *s, sqlite3_stmt *q) {
    int code = sqlite3_step(q);
    (void)sqlite3_reset(q);
    return code == SQLITE_DONE ? 0 : state_error(s, "cannot write");
}

static int state_run(struct state *s, int which, int n, const int64_t *values) {
    return state_step(s, state_bind(s, which, n, values));
}

/* The end of a walk over rows that ended with `code`. */
static int state_end(struct state *s, sqlite3_stmt *q, int code) {
    int r = code == SQLITE_DONE || code == SQLITE_ROW ? 0 : state_error(s, "cannot read");
    (void)sqlite3_reset(q);
    return r;
}

/* -- folders -------------------------------------------------------------------------------------------- */

/* FOLDER_COLUMNS from `at` on. */
static struct state_folder folder_row(sqlite3_stmt *q, int at) {
    return (struct state_folder){.id = sqlite3_column_int64(q, at),
                                 .hash = (uint32_t)sqlite3_column_int64(q, at + 1),
                                 .uidvalidity = (uint32_t)sqlite3_column_int64(q, at + 2),
                                 .uidnext = (uint32_t)sqlite3_column_int64(q, at + 3),
                                 .modseq = (uint64_t)sqlite3_column_int64(q, at + 4),
                                 .messages = (uint32_t)sqlite3_column_int64(q, at + 5),
                                 .inode = (uint64_t)sqlite3_column_int64(q, at + 6),
                                 .object = (uint64_t)sqlite3_column_int64(q, at + 7),
                                 .renamed = sqlite3_column_int64(q, at + 8) != 0};
}

/* 1: there is no such row. */
static int state_folder_find(struct state *s, const char *mailbox, struct buf *ret_directory,
                             struct state_folder *ret) {
    sqlite3_stmt *q = s->prepared[FOLDER_GET];
    (void)sqlite3_bind_text(q, 1, mailbox, -1, SQLITE_STATIC);
    int code = sqlite3_step(q), r = 1;
    if (code == SQLITE_ROW) {
        *ret = folder_row(q, 0);
        r = buf_printf(ret_directory, "%s", (const char *)sqlite3_column_text(q, 9));
    } else if (code != SQLITE_DONE) {
        r = state_error(s, "cannot read");
    }
    (void)sqlite3_reset(q);
    return r;
}

/* Another one where a folder, which was renamed, has that already: files are told apart by it. */
static int state_free_hash(struct state *s, uint32_t *hash) {
    for (;; ++*hash) {
        int64_t value = *hash;
        sqlite3_stmt *q = state_bind(s, FOLDER_HASH, 1, &value);
        int code = sqlite3_step(q), r = state_end(s, q, code);
        if (r < 0 || code == SQLITE_DONE)
            return r;
    }
}

/* SQLITE_DONE, SQLITE_CONSTRAINT, or another failure. */
static int state_folder_insert(struct state *s, const char *mailbox, const char *directory, uint32_t hash) {
    sqlite3_stmt *q = s->prepared[FOLDER_ADD];
    (void)sqlite3_bind_text(q, 1, mailbox, -1, SQLITE_STATIC);
    (void)sqlite3_bind_text(q, 2, directory, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(q, 3, hash);
    int code = sqlite3_step(q);
    (void)sqlite3_reset(q);
    return code;
}

int state_folder_get(struct state *s, const char *mailbox, const char *directory, uint32_t hash,
                     struct buf *ret_directory, struct state_folder *ret) {
    char away[NAME_AWAY_SIZE];
    int r = state_folder_find(s, mailbox, ret_directory, ret);
    if (r == 0 && !ret->renamed && strcmp(ret_directory->data, directory) != 0 &&
        !name_is_away(ret_directory->data))
        return err_set(ERR_REFUSED, "a mailbox changed its hierarchy delimiter");
    if (r == 1)
        r = state_free_hash(s, &hash);
    else
        return r;
    if (r < 0)
        return r;
    int code = state_folder_insert(s, mailbox, directory, hash);
    if (code == SQLITE_CONSTRAINT) {
        name_away(hash, away);
        code = state_folder_insert(s, mailbox, away, hash);
    }
    if (code != SQLITE_DONE)
        return state_error(s, "cannot write");
    r = state_folder_find(s, mailbox, ret_directory, ret);
    return r == 1 ? err_set(ERR_SYSTEM, "the sync state lost a row") : r;
}

int state_folder_put(struct state *s, const struct state_folder *f) {
    return state_run(s, FOLDER_PUT, 7,
                     (const int64_t[]){f->id, f->uidvalidity, f->uidnext, (int64_t)f->modseq, f->messages,
                                       (int64_t)f->inode, (int64_t)f->object});
}

int state_folder_rename(struct state *s, int64_t folder, const char *mailbox, const char *directory,
                        bool renamed) {
    sqlite3_stmt *q = s->prepared[FOLDER_RENAME];
    (void)sqlite3_bind_int64(q, 1, folder);
    (void)sqlite3_bind_text(q, 2, mailbox, -1, SQLITE_STATIC);
    (void)sqlite3_bind_text(q, 3, directory, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(q, 4, renamed);
    return state_step(s, q);
}

int state_folder_reset(struct state *s, int64_t folder, uint32_t uidvalidity) {
    counts_forget(s);
    int r = state_run(s, MESSAGES_REMOVE, 1, &folder);
    return r < 0 ? r : state_run(s, FOLDER_RESET, 2, (const int64_t[]){folder, uidvalidity});
}

int state_folder_remove(struct state *s, int64_t folder) {
    static const int each[] = {MESSAGES_REMOVE, KEYWORDS_REMOVE, UPLOADS_REMOVE, FOLDER_REMOVE};
    int r = 0;
    counts_forget(s);
    for (size_t i = 0; i < sizeof each / sizeof *each && r == 0; i++)
        r = state_run(s, each[i], 1, &folder);
    return r;
}

int state_folders(struct state *s,
                  int (*each)(void *ctx, const char *mailbox, const char *directory,
                              const struct state_folder *row),
                  void *ctx) {
    sqlite3_stmt *q = s->prepared[FOLDERS];
    int r = 0, code = SQLITE_DONE;
    while (r == 0 && (code = sqlite3_step(q)) == SQLITE_ROW) {
        struct state_folder row = folder_row(q, 2);
        r = each(ctx, (const char *)sqlite3_column_text(q, 0), (const char *)sqlite3_column_text(q, 1), &row);
    }
    int end = state_end(s, q, code);
    return r ? r : end;
}

/* -- messages ------------------------------------------------------------------------------------------- */

static struct plan_base base_row(sqlite3_stmt *q) {
    return (struct plan_base){.uid = (uint32_t)sqlite3_column_int64(q, 0),
                              .kind = (enum plan_message)sqlite3_column_int(q, 1),
                              .flags = (uint32_t)sqlite3_column_int64(q, 2),
                              .local = (uint32_t)sqlite3_column_int64(q, 3),
                              .seconds = (uint32_t)sqlite3_column_int64(q, 4)};
}

int state_each(struct state *s, int64_t folder, int (*each)(void *ctx, const struct plan_base *row),
               void *ctx) {
    sqlite3_stmt *q = state_bind(s, MESSAGES, 1, &folder);
    int r = 0, code = SQLITE_DONE;
    while (r == 0 && (code = sqlite3_step(q)) == SQLITE_ROW) {
        struct plan_base row = base_row(q);
        r = each(ctx, &row);
    }
    int end = state_end(s, q, code);
    return r < 0 ? r : end;
}

struct collected {
    struct plan_base *list; /* owned */
    size_t n, allocated;
};

static int collect(void *ctx, const struct plan_base *row) {
    struct collected *c = ctx;
    if (c->n == c->allocated)
        return err_set(ERR_SYSTEM, "the sync state counted wrong");
    c->list[c->n++] = *row;
    return 0;
}

int state_messages(struct state *s, int64_t folder, struct plan_base **ret, size_t *ret_n) {
    struct state_counts counts = {0};
    struct collected c = {0};
    int r = state_counts_of(s, folder, &counts);
    if (r < 0)
        return r;
    c.allocated = (size_t)counts.all;
    c.list = calloc(c.allocated + 1, sizeof *c.list);
    r = c.list ? state_each(s, folder, collect, &c) : err_set(ERR_SYSTEM, "out of memory");
    if (r < 0) {
        free(c.list);
        return r;
    }
    *ret = c.list;
    *ret_n = c.n;
    return 0;
}

int state_message_get(struct state *s, int64_t folder, uint32_t uid, struct state_message *ret) {
    sqlite3_stmt *q = state_bind(s, MESSAGE_GET, 2, (const int64_t[]){folder, uid});
    int code = sqlite3_step(q);
    if (code == SQLITE_ROW)
        *ret = (struct state_message){.uid = uid,
                                      .kind = (enum plan_message)sqlite3_column_int(q, 0),
                                      .flags = (uint32_t)sqlite3_column_int64(q, 1),
                                      .local = (uint32_t)sqlite3_column_int64(q, 2),
                                      .seconds = (uint32_t)sqlite3_column_int64(q, 3),
                                      .size = (uint64_t)sqlite3_column_int64(q, 4),
                                      .crc = (uint32_t)sqlite3_column_int64(q, 5),
                                      .part = sqlite3_column_int64(q, 6)};
    int r = state_end(s, q, code);
    return r < 0 ? r : code != SQLITE_ROW;
}

/* The kind of a row, -1: there is none; lower: an error. */
static int message_kind(struct state *s, int64_t folder, uint32_t uid) {
    sqlite3_stmt *q = state_bind(s, MESSAGE_GET, 2, (const int64_t[]){folder, uid});
    int code = sqlite3_step(q), kind = code == SQLITE_ROW ? sqlite3_column_int(q, 0) : -1;
    int r = state_end(s, q, code);
    return r < 0 ? r - 1 : kind;
}

static int message_change(struct state *s, int64_t folder, uint32_t uid, int to, int which, int n,
                          const int64_t *values) {
    int from = message_kind(s, folder, uid);
    if (from < -1)
        return from + 1;
    int r = state_run(s, which, n, values);
    if (r == 0 && (from >= 0 || which == MESSAGE_PUT))
        counts_change(s, folder, from, to);
    return r;
}

int state_message_put(struct state *s, int64_t folder, const struct state_message *m) {
    return message_change(s, folder, m->uid, (int)m->kind, MESSAGE_PUT, 9,
                          (const int64_t[]){folder, m->uid, m->kind, m->flags, m->local, m->seconds,
                                            (int64_t)m->size, m->crc, m->part});
}

int state_message_remove(struct state *s, int64_t folder, uint32_t uid) {
    return message_change(s, folder, uid, -1, MESSAGE_REMOVE, 2, (const int64_t[]){folder, uid});
}

int state_message_flags(struct state *s, int64_t folder, uint32_t uid, uint32_t flags, uint32_t local) {
    return state_run(s, MESSAGE_FLAGS, 4, (const int64_t[]){folder, uid, flags, local});
}

int state_message_kind(struct state *s, int64_t folder, uint32_t uid, enum plan_message kind) {
    return message_change(s, folder, uid, (int)kind, MESSAGE_KIND, 3, (const int64_t[]){folder, uid, kind});
}

int state_message_part(struct state *s, int64_t folder, uint32_t uid, int64_t part) {
    return state_run(s, MESSAGE_PART, 3, (const int64_t[]){folder, uid, part});
}

int state_range(struct state *s, int64_t folder, struct uidset_range range, uint32_t **ret, size_t *ret_n) {
    sqlite3_stmt *q = state_bind(s, RANGE, 3, (const int64_t[]){folder, range.first, range.last});
    int code, r = 0;
    while (r == 0 && (code = sqlite3_step(q)) == SQLITE_ROW) {
        /* room for powers of two */
        uint32_t *grown = *ret;
        if ((*ret_n & (*ret_n - 1)) == 0)
            grown = reallocarray(*ret, *ret_n ? *ret_n * 2 : 1, sizeof *grown);
        if (!grown) {
            r = err_set(ERR_SYSTEM, "out of memory");
            break;
        }
        *ret = grown;
        (*ret)[(*ret_n)++] = (uint32_t)sqlite3_column_int64(q, 0);
    }
    int end = state_end(s, q, r < 0 ? SQLITE_DONE : code);
    return r < 0 ? r : end;
}

int state_wanted(struct state *s, int64_t folder, bool large, uint32_t below, uint32_t *ret, size_t max,
                 size_t *ret_n) {
    sqlite3_stmt *q =
        state_bind(s, large ? WANTED_LARGE : WANTED_SMALL, 3, (const int64_t[]){folder, below, (int64_t)max});
    size_t n = 0;
    int code = SQLITE_DONE;
    while (n < max && (code = sqlite3_step(q)) == SQLITE_ROW)
        ret[n++] = (uint32_t)sqlite3_column_int64(q, 0);
    int r = state_end(s, q, code);
    if (r == 0)
        *ret_n = n;
    return r;
}

int state_newest(struct state *s, int64_t folder, uint32_t below, uint32_t *ret) {
    sqlite3_stmt *q = state_bind(s, NEWEST, 2, (const int64_t[]){folder, below});
    int code = sqlite3_step(q);
    uint32_t uid = code == SQLITE_ROW ? (uint32_t)sqlite3_column_int64(q, 0) : 0;
    int r = state_end(s, q, code);
    if (r == 0)
        *ret = uid;
    return r;
}

int state_aged(struct state *s, int64_t folder, uint32_t seconds, struct plan_base *ret, size_t max,
               size_t *ret_n) {
    sqlite3_stmt *q = state_bind(s, AGED, 3, (const int64_t[]){folder, seconds, (int64_t)max});
    size_t n = 0;
    int code = SQLITE_DONE;
    while (n < max && (code = sqlite3_step(q)) == SQLITE_ROW)
        ret[n++] = base_row(q);
    int r = state_end(s, q, code);
    if (r == 0)
        *ret_n = n;
    return r;
}

int state_want(struct state *s, int64_t folder, uint32_t seconds, bool lost) {
    counts_forget(s);
    return state_run(s, lost ? WANT_LOST : WANT_YOUNG, lost ? 1 : 2, (const int64_t[]){folder, seconds});
}

static int state_count(struct state *s, sqlite3_stmt *q, struct state_counts *ret) {
    int code = sqlite3_step(q);
    struct state_counts counts = {.have = sqlite3_column_int64(q, 0),
                                  .wanted = sqlite3_column_int64(q, 1),
                                  .all = sqlite3_column_int64(q, 2)};
    int r = state_end(s, q, code);
    if (r == 0)
        *ret = counts;
    return r;
}

int state_counts_of(struct state *s, int64_t folder, struct state_counts *ret) {
    for (size_t i = 0; i < s->n_counted; i++)
        if (s->counted[i].folder == folder) {
            *ret = s->counted[i].counts;
            return 0;
        }
    struct counted *grown = reallocarray(s->counted, s->n_counted + 1, sizeof *grown);
    if (!grown)
        return err_set(ERR_SYSTEM, "out of memory");
    s->counted = grown;
    struct counted *counted = &grown[s->n_counted];
    int r = state_count(s, state_bind(s, COUNT_FOLDER, 1, &folder), &counted->counts);
    if (r < 0)
        return r;
    counted->folder = folder;
    s->n_counted++;
    *ret = counted->counts;
    return 0;
}

int state_counts_all(struct state *s, struct state_counts *ret) {
    int r = s->all_known ? 0 : state_count(s, s->prepared[COUNT_ALL], &s->all);
    s->all_known = r == 0;
    if (r == 0)
        *ret = s->all;
    return r;
}

/* -- keywords and uploads ------------------------------------------------------------------------------- */

int state_keywords_get(struct state *s, int64_t folder, struct keywords *ret) {
    sqlite3_stmt *q = state_bind(s, KEYWORDS, 1, &folder);
    int code;
    while ((code = sqlite3_step(q)) == SQLITE_ROW) {
        int slot = sqlite3_column_int(q, 0);
        if (slot < 0 || slot >= FLAGS_SLOTS || ret->names[slot])
            continue;
        ret->names[slot] = strdup((const char *)sqlite3_column_text(q, 1));
    }
    return state_end(s, q, code);
}

int state_keywords_put(struct state *s, int64_t folder, const struct keywords *keywords) {
    int r = state_run(s, KEYWORDS_REMOVE, 1, &folder);
    for (int i = 0; i < FLAGS_SLOTS && r == 0; i++) {
        if (!keywords->names[i])
            continue;
        sqlite3_stmt *q = state_bind(s, KEYWORD_PUT, 2, (const int64_t[]){folder, i});
        (void)sqlite3_bind_text(q, 3, keywords->names[i], -1, SQLITE_STATIC);
        r = state_step(s, q);
    }
    return r;
}

int state_upload_add(struct state *s, const struct state_upload *u, int64_t *ret_id) {
    sqlite3_stmt *q = s->prepared[UPLOAD_ADD];
    (void)sqlite3_bind_int64(q, 1, u->folder);
    (void)sqlite3_bind_text(q, 2, u->name, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(q, 3, u->uidnext);
    (void)sqlite3_bind_int64(q, 4, (int64_t)u->wire_size);
    (void)sqlite3_bind_int64(q, 5, u->wire_crc);
    (void)sqlite3_bind_int64(q, 6, (int64_t)u->message_id);
    (void)sqlite3_bind_int64(q, 7, u->flags);
    int r = state_step(s, q);
    if (r == 0)
        *ret_id = sqlite3_last_insert_rowid(s->db);
    return r;
}

int state_upload_remove(struct state *s, int64_t id) {
    return state_run(s, UPLOAD_REMOVE, 1, &id);
}

int state_uploads(struct state *s, struct state_upload **ret, size_t *ret_n) {
    sqlite3_stmt *q = s->prepared[UPLOADS];
    cleanup(free) struct state_upload *list = NULL;
    size_t n = 0;
    int code;
    while ((code = sqlite3_step(q)) == SQLITE_ROW) {
        struct state_upload *grown = reallocarray(list, n + 1, sizeof *grown);
        if (!grown)
            break;
        list = grown;
        list[n] = (struct state_upload){.id = sqlite3_column_int64(q, 0),
                                        .folder = sqlite3_column_int64(q, 1),
                                        .uidnext = (uint32_t)sqlite3_column_int64(q, 3),
                                        .wire_size = (uint64_t)sqlite3_column_int64(q, 4),
                                        .wire_crc = (uint32_t)sqlite3_column_int64(q, 5),
                                        .message_id = (uint64_t)sqlite3_column_int64(q, 6),
                                        .flags = (uint32_t)sqlite3_column_int64(q, 7)};
        (void)snprintf(list[n].name, sizeof list[n].name, "%s", (const char *)sqlite3_column_text(q, 2));
        n++;
    }
    int r = code == SQLITE_ROW ? err_set(ERR_SYSTEM, "out of memory") : 0;
    int end = state_end(s, q, code);
    if (r < 0 || end < 0)
        return r < 0 ? r : end;
    *ret = steal(list);
    *ret_n = n;
    return 0;
}
