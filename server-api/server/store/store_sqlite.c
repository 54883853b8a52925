/*
 * The SQLite driver. WAL with synchronous=FULL: a commit that was answered survives a power cut. One writer
 * thread takes everything that waits and commits it at once, which makes FULL as cheap as NORMAL; each body
 * has a savepoint, so that one that fails takes nobody with it. Readers are connections of their own, taken
 * from a pool and given back.
 */
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/base/log.h"
#include "server-api/server/embed/embed.h"
#include "server-api/server/store/sql.h"

#include <pthread.h>
#include <semaphore.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define SQLITE_STATEMENTS 96 /* distinct statements of all table files, with room */
#define SQLITE_BATCH 1000    /* bodies in one commit */

struct sqlite_connection {
    struct store_tx tx; /* first: a body's tx is this connection */
    sqlite3 *db;
    struct {
        const char *sql; /* a literal: its address is its name */
        sqlite3_stmt *statement;
    } cache[SQLITE_STATEMENTS];
    size_t cached;
    struct sqlite_connection *next; /* in the pool */
};

struct sqlite_job {
    store_body *body;
    void *arg;
    int result;
    char text[1024]; /* err_text() of the writer thread */
    sem_t done;
    struct sqlite_job *next;
};

struct sqlite_store {
    char *path;
    pthread_t thread;
    bool running;
    pthread_mutex_t lock; /* what stands below */
    pthread_cond_t wake;
    struct sqlite_job *first, **last;
    bool stop;
    struct store_counts counts;
    struct sqlite_connection *pool;
    struct sqlite_connection *writer; /* the writer thread's alone once it runs */
};

static int sqlite_failed(sqlite3 *db, const char *what) {
    return err_set(ERR_SYSTEM, "the store cannot %s: %s", what, db ? sqlite3_errmsg(db) : "out of memory");
}

static int sqlite_exec(struct sqlite_connection *c, const char *sql) {
    return sqlite3_exec(c->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : sqlite_failed(c->db, "go on");
}

static void sqlite_connection_close(struct sqlite_connection *c) {
    if (!c)
        return;
    for (size_t i = 0; i < c->cached; i++)
        (void)sqlite3_finalize(c->cache[i].statement);
    (void)sqlite3_close(c->db);
    free(c);
}

static inline void sqlite_connection_cleanup(struct sqlite_connection **c) {
    sqlite_connection_close(*c);
}

static int sqlite_connect(const char *path, bool writes, struct sqlite_connection **ret) {
    cleanup(sqlite_connection) struct sqlite_connection *c = calloc(1, sizeof *c);
    if (!c)
        return err_errno("cannot open the store");
    c->tx.driver = &store_driver_sqlite;
    int flags = writes ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY;
    if (sqlite3_open_v2(path, &c->db, flags | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        return sqlite_failed(c->db, "be opened");
    (void)sqlite3_busy_timeout(c->db, 5000);
    int r = writes
                ? sqlite_exec(c, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
                                 "PRAGMA secure_delete=ON; PRAGMA trusted_schema=OFF;")
                : sqlite_exec(c, "PRAGMA query_only=ON; PRAGMA trusted_schema=OFF;");
    if (r < 0)
        return r;
    *ret = steal(c);
    return 0;
}

static int sqlite_prepare(struct sqlite_connection *c, const char *sql, sqlite3_stmt **ret) {
    for (size_t i = 0; i < c->cached; i++)
        if (c->cache[i].sql == sql) {
            *ret = c->cache[i].statement;
            return 0;
        }
    if (c->cached == SQLITE_STATEMENTS)
        return err_set(ERR_SYSTEM, "the store has more statements than it keeps");
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v3(c->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL) != SQLITE_OK)
        return sqlite_failed(c->db, "prepare a statement");
    c->cache[c->cached].sql = sql;
    c->cache[c->cached++].statement = statement;
    *ret = statement;
    return 0;
}

static int sqlite_bind(sqlite3_stmt *statement, const struct sql_value *values, size_t n) {
    for (size_t i = 0; i < n; i++) {
        int column = (int)i + 1;
        int rc = values[i].type == SQL_TEXT
                     ? sqlite3_bind_text(statement, column, values[i].text, -1, SQLITE_STATIC)
                 : values[i].type == SQL_NUMBER ? sqlite3_bind_int64(statement, column, values[i].number)
                                                : sqlite3_bind_null(statement, column);
        if (rc != SQLITE_OK)
            return sqlite_failed(sqlite3_db_handle(statement), "bind a value");
    }
    return 0;
}

static void sqlite_row(sqlite3_stmt *statement, struct sql_row *ret) {
    int n = sqlite3_column_count(statement);
    ret->n = n < SQL_COLUMNS_MAX ? (size_t)n : SQL_COLUMNS_MAX;
    for (size_t i = 0; i < ret->n; i++) {
        int type = sqlite3_column_type(statement, (int)i);
        if (type == SQLITE_TEXT)
            ret->columns[i] = sql_text((const char *)sqlite3_column_text(statement, (int)i));
        else if (type == SQLITE_INTEGER)
            ret->columns[i] = sql_number(sqlite3_column_int64(statement, (int)i));
        else
            ret->columns[i] = sql_text(NULL);
    }
}

static int sqlite_each(struct store_tx *tx, const char *sql, const struct sql_value *values, size_t n,
                       sql_row_fn *fn, void *arg) {
    struct sqlite_connection *c = (struct sqlite_connection *)tx;
    sqlite3_stmt *statement = NULL;
    int r = sqlite_prepare(c, sql, &statement);
    if (r == 0)
        r = sqlite_bind(statement, values, n);
    if (r < 0)
        return r;
    int rc;
    while (r == 0 && (rc = sqlite3_step(statement)) != SQLITE_DONE) {
        struct sql_row row = {0};
        if (rc != SQLITE_ROW) {
            r = sqlite_failed(c->db, "run a statement");
            break;
        }
        sqlite_row(statement, &row);
        r = fn ? fn(&row, arg) : 0;
    }
    (void)sqlite3_reset(statement);
    (void)sqlite3_clear_bindings(statement);
    return r;
}

static int sqlite_run(struct store_tx *tx, const char *sql, const struct sql_value *values, size_t n,
                      int64_t *ret_changed) {
    struct sqlite_connection *c = (struct sqlite_connection *)tx;
    sqlite3_int64 before = sqlite3_total_changes64(c->db);
    int r = sqlite_each(tx, sql, values, n, NULL, NULL);
    if (r < 0)
        return r;
    *ret_changed = sqlite3_total_changes64(c->db) - before;
    return 0;
}

static void sqlite_job_run(struct sqlite_connection *c, struct sqlite_job *job) {
    int r = sqlite_exec(c, "SAVEPOINT body");
    if (r == 0) {
        r = job->body(&c->tx, job->arg);
        char text[sizeof job->text];
        (void)snprintf(text, sizeof text, "%s", err_text());
        if (sqlite_exec(c, r < 0 ? "ROLLBACK TO body; RELEASE body" : "RELEASE body") < 0)
            r = r < 0 ? r : ERR_SYSTEM;
        else
            (void)err_set(r, "%s", text);
    }
    job->result = r;
    if (r < 0)
        (void)snprintf(job->text, sizeof job->text, "%s", err_text());
}

/* One commit for all of `jobs`. Where the transaction as a whole fails, every body has failed. */
static void sqlite_commit(struct sqlite_connection *c, struct sqlite_job *jobs) {
    int r = sqlite_exec(c, "BEGIN IMMEDIATE");
    for (struct sqlite_job *job = jobs; job && r == 0; job = job->next) {
        sqlite_job_run(c, job);
        if (sqlite3_get_autocommit(c->db)) /* a full disk, say, rolled everything back */
            r = err_set(ERR_SYSTEM, "the store gave the transaction up: %s", job->text);
    }
    if (r == 0)
        r = sqlite_exec(c, "COMMIT");
    if (r == 0)
        return;
    char text[1024];
    (void)snprintf(text, sizeof text, "%s", err_text());
    log_error("%s", text);
    if (!sqlite3_get_autocommit(c->db) && sqlite_exec(c, "ROLLBACK") < 0)
        log_error("%s, ignoring", err_text());
    for (struct sqlite_job *job = jobs; job; job = job->next) {
        job->result = r;
        (void)snprintf(job->text, sizeof job->text, "%s", text);
    }
}

/* Takes what waits, up to a batch; NULL when it is time to end. */
static struct sqlite_job *sqlite_take(struct sqlite_store *s, uint64_t *ret_n) {
    (void)pthread_mutex_lock(&s->lock);
    while (!s->first && !s->stop)
        (void)pthread_cond_wait(&s->wake, &s->lock);
    struct sqlite_job *jobs = s->first, **end = &jobs;
    uint64_t n = 0;
    for (; *end && n < SQLITE_BATCH; n++)
        end = &(*end)->next;
    s->first = *end;
    *end = NULL;
    if (!s->first)
        s->last = &s->first;
    s->counts.commits += jobs ? 1 : 0;
    s->counts.writes += n;
    (void)pthread_mutex_unlock(&s->lock);
    *ret_n = n;
    return jobs;
}

static void *sqlite_writer(void *arg) {
    struct sqlite_store *s = arg;
    struct sqlite_job *jobs;
    uint64_t n;
    while ((jobs = sqlite_take(s, &n))) {
        sqlite_commit(s->writer, jobs);
        while (jobs) {
            struct sqlite_job *job = jobs;
            jobs = job->next; /* the job is its caller's again after the post */
            (void)sem_post(&job->done);
        }
    }
    return NULL;
}

static int sqlite_write(void *state, store_body *body, void *arg) {
    struct sqlite_store *s = state;
    struct sqlite_job job = {.body = body, .arg = arg};
    (void)sem_init(&job.done, 0, 0);
    (void)pthread_mutex_lock(&s->lock);
    *s->last = &job;
    s->last = &job.next;
    (void)pthread_cond_signal(&s->wake);
    (void)pthread_mutex_unlock(&s->lock);
    while (sem_wait(&job.done) < 0)
        ; /* interrupted by a signal */
    (void)sem_destroy(&job.done);
    return job.result < 0 ? err_set(job.result, "%s", job.text) : job.result;
}

static int sqlite_read(void *state, store_body *body, void *arg) {
    struct sqlite_store *s = state;
    (void)pthread_mutex_lock(&s->lock);
    struct sqlite_connection *c = s->pool;
    if (c)
        s->pool = c->next;
    (void)pthread_mutex_unlock(&s->lock);
    int r = c ? 0 : sqlite_connect(s->path, false, &c);
    if (c)
        r = sqlite_exec(c, "BEGIN");
    if (r < 0 || !c) {
        sqlite_connection_close(c);
        return r;
    }
    r = body(&c->tx, arg);
    if (sqlite3_exec(c->db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK) {
        sqlite_connection_close(c); /* never back into the pool with an old snapshot */
        return r;
    }
    (void)pthread_mutex_lock(&s->lock);
    c->next = s->pool;
    s->pool = c;
    (void)pthread_mutex_unlock(&s->lock);
    return r;
}

static struct store_counts sqlite_counts(void *state) {
    struct sqlite_store *s = state;
    (void)pthread_mutex_lock(&s->lock);
    struct store_counts counts = s->counts;
    (void)pthread_mutex_unlock(&s->lock);
    return counts;
}

static int sqlite_version_row(const struct sql_row *row, void *arg) {
    *(int64_t *)arg = sql_int(row, 0);
    return 0;
}

static int sqlite_orphan_row(const struct sql_row *row, void *arg) {
    (void)arg;
    (void)row;
    return err_set(ERR_SYSTEM, "it would leave rows that refer to nothing");
}

/* Migration N brings version N-1 to version N, each in a transaction of its own: with foreign keys off, so
 * that a table can be made anew; whether they hold is looked at before each commit. */
static int sqlite_migrate(struct sqlite_connection *c) {
    int64_t version = 0;
    int r = sqlite_each(&c->tx, "PRAGMA user_version", NULL, 0, sqlite_version_row, &version);
    if (r < 0)
        return r;
    if (version < 0 || (uint64_t)version > embedded_migrations_count)
        return err_set(ERR_REFUSED, "the store was written by a newer version of satchel-server (%lld)",
                       (long long)version);
    if ((uint64_t)version < embedded_migrations_count) /* no effect inside a transaction */
        r = sqlite_exec(c, "PRAGMA foreign_keys=OFF");
    for (size_t i = (size_t)version; i < embedded_migrations_count && r == 0; i++) {
        char number[64];
        (void)snprintf(number, sizeof number, "PRAGMA user_version = %zu; COMMIT", i + 1);
        r = sqlite_exec(c, "BEGIN IMMEDIATE");
        if (r == 0)
            r = sqlite_exec(c, embedded_migrations[i].data);
        if (r == 0)
            r = sqlite_each(&c->tx, "PRAGMA foreign_key_check", NULL, 0, sqlite_orphan_row, NULL);
        if (r == 0)
            r = sqlite_exec(c, number);
        if (r < 0)
            return err_context(r, "migration %s", embedded_migrations[i].name);
    }
    return r == 0 ? sqlite_exec(c, "PRAGMA foreign_keys=ON") : r;
}

static void sqlite_close(void *state) {
    struct sqlite_store *s = state;
    if (s->running) {
        (void)pthread_mutex_lock(&s->lock);
        s->stop = true;
        (void)pthread_cond_signal(&s->wake);
        (void)pthread_mutex_unlock(&s->lock);
        (void)pthread_join(s->thread, NULL);
    }
    while (s->pool) {
        struct sqlite_connection *c = s->pool;
        s->pool = c->next;
        sqlite_connection_close(c);
    }
    sqlite_connection_close(s->writer); /* last: it checkpoints the log */
    (void)pthread_cond_destroy(&s->wake);
    (void)pthread_mutex_destroy(&s->lock);
    free(s->path);
    free(s);
}

static int sqlite_open(const char *where, void **ret) {
    struct sqlite_store *s = calloc(1, sizeof *s);
    if (!s)
        return err_errno("cannot open the store");
    (void)pthread_mutex_init(&s->lock, NULL);
    (void)pthread_cond_init(&s->wake, NULL);
    s->last = &s->first;
    s->path = strdup(where);
    int r = s->path ? sqlite_connect(where, true, &s->writer) : err_errno("cannot open the store");
    if (r == 0)
        r = sqlite_migrate(s->writer);
    if (r == 0 && pthread_create(&s->thread, NULL, sqlite_writer, s) != 0)
        r = err_set(ERR_SYSTEM, "cannot start the store's writer");
    if (r < 0) {
        sqlite_close(s);
        return r;
    }
    s->running = true;
    *ret = s;
    return 0;
}

const struct store_driver store_driver_sqlite = {
    .scheme = "sqlite",
    .open = sqlite_open,
    .close = sqlite_close,
    .write = sqlite_write,
    .read = sqlite_read,
    .counts = sqlite_counts,
    .run = sqlite_run,
    .each = sqlite_each,
};
