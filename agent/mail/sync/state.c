#include "agent/mail/sync/state.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/base/log.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATE_VERSION 1

enum {
    FOLDER_GET,
    FOLDER_ADD,
    FOLDER_PUT,
    FOLDER_RESET,
    FOLDER_REMOVE,
    FOLDERS,
    MESSAGES,
    MESSAGES_REMOVE,
    MESSAGE_PUT,
    MESSAGE_REMOVE,
    COUNT_MESSAGES,
    STATEMENTS,
};

static const char *const sql[STATEMENTS] = {
    [FOLDER_GET] =
        "SELECT id, uidvalidity, uidnext, modseq, messages, directory FROM folder WHERE mailbox = ?1",
    [FOLDER_ADD] = "INSERT INTO folder (mailbox, directory) VALUES (?1, ?2)",
    [FOLDER_PUT] =
        "UPDATE folder SET uidvalidity = ?2, uidnext = ?3, modseq = ?4, messages = ?5 WHERE id = ?1",
    [FOLDER_RESET] =
        "UPDATE folder SET uidvalidity = ?2, uidnext = 0, modseq = 0, messages = 0 WHERE id = ?1",
    [FOLDER_REMOVE] = "DELETE FROM folder WHERE id = ?1",
    [FOLDERS] = "SELECT mailbox, directory, id FROM folder ORDER BY id",
    [MESSAGES] = "SELECT uid, flags, gone FROM message WHERE folder = ?1 ORDER BY uid",
    [MESSAGES_REMOVE] = "DELETE FROM message WHERE folder = ?1",
    [MESSAGE_PUT] = "INSERT OR REPLACE INTO message (folder, uid, flags, gone) VALUES (?1, ?2, ?3, ?4)",
    [MESSAGE_REMOVE] = "DELETE FROM message WHERE folder = ?1 AND uid = ?2",
    [COUNT_MESSAGES] = "SELECT count(*) FROM message WHERE gone = 0",
};

static const char schema[] =
    "CREATE TABLE folder (id INTEGER PRIMARY KEY AUTOINCREMENT, mailbox TEXT NOT NULL UNIQUE,"
    " directory TEXT NOT NULL UNIQUE, uidvalidity INTEGER NOT NULL DEFAULT 0, uidnext INTEGER NOT NULL "
    "DEFAULT 0,"
    " modseq INTEGER NOT NULL DEFAULT 0, messages INTEGER NOT NULL DEFAULT 0) STRICT;"
    "CREATE TABLE message (folder INTEGER NOT NULL, uid INTEGER NOT NULL, flags INTEGER NOT NULL,"
    " gone INTEGER NOT NULL, PRIMARY KEY (folder, uid)) STRICT, WITHOUT ROWID;"
    "PRAGMA user_version = 1;";

struct state {
    sqlite3 *db;
    sqlite3_stmt *prepared[STATEMENTS];
};

static int state_error(struct state *s, const char *what) {
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
                     "PRAGMA temp_store = MEMORY; BEGIN IMMEDIATE; COMMIT;",
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

int state_open(const char *path, struct state **ret) {
    int r = state_try(path, ret);
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

void state_rollback(struct state *s) {
    if (!sqlite3_get_autocommit(s->db))
        (void)sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
}

/* Binds integers to ?1.. and runs a statement that gives no rows. */
static int state_run(struct state *s, int which, int n, const int64_t *values) {
    sqlite3_stmt *q = s->prepared[which];
    for (int i = 0; i < n; i++)
        (void)sqlite3_bind_int64(q, i + 1, values[i]);
    int code = sqlite3_step(q);
    (void)sqlite3_reset(q);
    return code == SQLITE_DONE ? 0 : state_error(s, "cannot write");
}

/* 1: there is no such row. */
static int state_folder_find(struct state *s, const char *mailbox, const char *directory,
                             struct state_folder *ret) {
    sqlite3_stmt *q = s->prepared[FOLDER_GET];
    (void)sqlite3_bind_text(q, 1, mailbox, -1, SQLITE_STATIC);
    int code = sqlite3_step(q), r = 1;
    if (code == SQLITE_ROW) {
        *ret = (struct state_folder){.id = sqlite3_column_int64(q, 0),
                                     .uidvalidity = (uint32_t)sqlite3_column_int64(q, 1),
                                     .uidnext = (uint32_t)sqlite3_column_int64(q, 2),
                                     .modseq = (uint64_t)sqlite3_column_int64(q, 3),
                                     .messages = (uint32_t)sqlite3_column_int64(q, 4)};
        r = strcmp((const char *)sqlite3_column_text(q, 5), directory) == 0
                ? 0
                : err_set(ERR_REFUSED, "a mailbox changed its hierarchy delimiter");
    } else if (code != SQLITE_DONE) {
        r = state_error(s, "cannot read");
    }
    (void)sqlite3_reset(q);
    return r;
}

int state_folder_get(struct state *s, const char *mailbox, const char *directory, struct state_folder *ret) {
    int r = state_folder_find(s, mailbox, directory, ret);
    if (r <= 0)
        return r;
    sqlite3_stmt *q = s->prepared[FOLDER_ADD];
    (void)sqlite3_bind_text(q, 1, mailbox, -1, SQLITE_STATIC);
    (void)sqlite3_bind_text(q, 2, directory, -1, SQLITE_STATIC);
    int code = sqlite3_step(q);
    (void)sqlite3_reset(q);
    if (code == SQLITE_CONSTRAINT)
        return err_set(ERR_REFUSED, "two mailboxes have the same name");
    if (code != SQLITE_DONE)
        return state_error(s, "cannot write");
    r = state_folder_find(s, mailbox, directory, ret);
    return r == 1 ? err_set(ERR_SYSTEM, "the sync state lost a row") : r;
}

int state_folder_put(struct state *s, const struct state_folder *f) {
    return state_run(s, FOLDER_PUT, 5,
                     (const int64_t[]){f->id, f->uidvalidity, f->uidnext, (int64_t)f->modseq, f->messages});
}

int state_folder_reset(struct state *s, int64_t folder, uint32_t uidvalidity) {
    int r = state_run(s, MESSAGES_REMOVE, 1, &folder);
    return r < 0 ? r : state_run(s, FOLDER_RESET, 2, (const int64_t[]){folder, uidvalidity});
}

int state_folder_remove(struct state *s, int64_t folder) {
    int r = state_run(s, MESSAGES_REMOVE, 1, &folder);
    return r < 0 ? r : state_run(s, FOLDER_REMOVE, 1, &folder);
}

int state_folders(struct state *s,
                  int (*each)(void *ctx, const char *mailbox, const char *directory, int64_t folder),
                  void *ctx) {
    sqlite3_stmt *q = s->prepared[FOLDERS];
    int r = 0, code = SQLITE_DONE;
    while (r == 0 && (code = sqlite3_step(q)) == SQLITE_ROW)
        r = each(ctx, (const char *)sqlite3_column_text(q, 0), (const char *)sqlite3_column_text(q, 1),
                 sqlite3_column_int64(q, 2));
    (void)sqlite3_reset(q);
    return r == 0 && code != SQLITE_DONE ? state_error(s, "cannot read") : r;
}

int state_messages(struct state *s, int64_t folder, struct plan_base **ret, size_t *ret_n) {
    sqlite3_stmt *q = s->prepared[MESSAGES];
    cleanup(free) struct plan_base *list = NULL;
    size_t n = 0, allocated = 0;
    int code;
    (void)sqlite3_bind_int64(q, 1, folder);
    while ((code = sqlite3_step(q)) == SQLITE_ROW) {
        if (n == allocated) {
            allocated = allocated ? allocated * 2 : 256;
            struct plan_base *grown = reallocarray(list, allocated, sizeof *grown);
            if (!grown)
                break;
            list = grown;
        }
        list[n++] = (struct plan_base){.uid = (uint32_t)sqlite3_column_int64(q, 0),
                                       .flags = (uint8_t)sqlite3_column_int(q, 1),
                                       .gone = sqlite3_column_int(q, 2) != 0};
    }
    (void)sqlite3_reset(q);
    if (code == SQLITE_ROW)
        return err_set(ERR_SYSTEM, "out of memory");
    if (code != SQLITE_DONE)
        return state_error(s, "cannot read");
    *ret = steal(list);
    *ret_n = n;
    return 0;
}

int state_message_put(struct state *s, int64_t folder, const struct plan_base *m) {
    return state_run(s, MESSAGE_PUT, 4, (const int64_t[]){folder, m->uid, m->flags, m->gone});
}

int state_message_remove(struct state *s, int64_t folder, uint32_t uid) {
    return state_run(s, MESSAGE_REMOVE, 2, (const int64_t[]){folder, uid});
}

int state_count(struct state *s, int64_t *ret) {
    sqlite3_stmt *q = s->prepared[COUNT_MESSAGES];
    int code = sqlite3_step(q);
    int64_t n = code == SQLITE_ROW ? sqlite3_column_int64(q, 0) : 0;
    (void)sqlite3_reset(q);
    if (code != SQLITE_ROW)
        return state_error(s, "cannot read");
    *ret = n;
    return 0;
}
