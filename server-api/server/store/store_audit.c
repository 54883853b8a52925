#include "server-api/server/store/store_audit.h"
#include "platform/base/err.h"
#include "server-api/server/store/sql.h"

struct audit_walk {
    store_audit_fn *fn;
    void *arg;
};

struct audit_head {
    int64_t sequence;
    char hash[STORE_HASH_SIZE];
};

static const char *audit_text(const struct sql_row *row, size_t column) {
    return row->columns[column].type == SQL_TEXT ? row->columns[column].text : "";
}

static int audit_walk_row(const struct sql_row *row, void *arg) {
    const struct audit_walk *walk = arg;
    const struct store_audit entry = {.sequence = sql_int(row, 0),
                                      .at = sql_int(row, 1),
                                      .actor = audit_text(row, 2),
                                      .action = audit_text(row, 3),
                                      .subject = audit_text(row, 4),
                                      .detail = audit_text(row, 5),
                                      .hash = audit_text(row, 6)};
    return walk->fn(&entry, walk->arg);
}

static int audit_head_row(const struct sql_row *row, void *arg) {
    struct audit_head *head = arg;
    head->sequence = sql_int(row, 0);
    sql_copy(row, 1, head->hash, sizeof head->hash);
    return 0;
}

int store_audit_add(struct store_tx *tx, const struct store_audit *e) {
    return sql_run(tx,
                   "INSERT INTO audit (sequence, at, actor, action, subject, detail, hash) "
                   "VALUES ($1, $2, $3, $4, $5, $6, $7)",
                   SQL_VALUES(sql_number(e->sequence), sql_number(e->at), sql_text(e->actor),
                              sql_text(e->action), sql_text(e->subject), sql_text(e->detail),
                              sql_text(e->hash)));
}

int store_audit_last(struct store_tx *tx, int64_t *ret_sequence, char ret_hash[STORE_HASH_SIZE]) {
    struct audit_head head = {0};
    int r = sql_each(tx, "SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1", NULL, 0,
                     audit_head_row, &head);
    if (r < 0)
        return r;
    *ret_sequence = head.sequence;
    for (size_t i = 0; i < sizeof head.hash; i++)
        ret_hash[i] = head.hash[i];
    return 0;
}

int store_audit_each(struct store_tx *tx, int64_t after, size_t limit, store_audit_fn *fn, void *arg) {
    struct audit_walk walk = {.fn = fn, .arg = arg};
    return sql_each(tx,
                    "SELECT sequence, at, actor, action, subject, detail, hash FROM audit "
                    "WHERE sequence > $1 ORDER BY sequence LIMIT $2",
                    SQL_VALUES(sql_number(after), sql_number((int64_t)limit)), audit_walk_row, &walk);
}
