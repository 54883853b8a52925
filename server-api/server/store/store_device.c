#include "server-api/server/store/store_device.h"
#include "platform/base/err.h"
#include "server-api/server/store/sql.h"

#include <stdlib.h>
#include <string.h>

static const char *const device_states[DEVICE_STATES] = {
    [DEVICE_ENROLLED] = "enrolled", [DEVICE_LOCKED] = "locked", [DEVICE_WIPING] = "wiping",
    [DEVICE_WIPED] = "wiped",       [DEVICE_LEFT] = "left",     [DEVICE_DELETED] = "deleted"};

struct device_walk {
    store_device_fn *fn;
    void *arg;
};

const char *device_state_name(enum device_state state) {
    return device_states[state];
}

void store_device_finish(struct store_device *device) {
    free(device->report);
    *device = (struct store_device){0};
}

static int device_read_state(const struct sql_row *row, size_t column, enum device_state *ret) {
    const struct sql_value *v = &row->columns[column];
    for (size_t i = 0; i < DEVICE_STATES; i++)
        if (v->type == SQL_TEXT && strcmp(v->text, device_states[i]) == 0) {
            *ret = (enum device_state)i;
            return 0;
        }
    return err_set(ERR_SYSTEM, "the store holds a device in a state that this version does not know");
}

static int device_read(const struct sql_row *row, struct store_device *ret) {
    sql_copy(row, 0, ret->id, sizeof ret->id);
    sql_copy(row, 1, ret->login, sizeof ret->login);
    sql_copy(row, 2, ret->name, sizeof ret->name);
    sql_copy(row, 3, ret->os, sizeof ret->os);
    sql_copy(row, 4, ret->agent_version, sizeof ret->agent_version);
    ret->enrolled_at = sql_int(row, 6);
    ret->last_seen = sql_int(row, 7);
    ret->order_sequence = sql_int(row, 8);
    ret->reported_at = sql_int(row, 9);
    return device_read_state(row, 5, &ret->state);
}

static int device_row(const struct sql_row *row, void *arg) {
    struct store_device *ret = arg;
    ret->report = sql_dup(row, 10);
    return device_read(row, ret);
}

static int device_walk_row(const struct sql_row *row, void *arg) {
    const struct device_walk *walk = arg;
    struct store_device device = {0};
    int r = device_read(row, &device);
    return r < 0 ? r : walk->fn(&device, walk->arg);
}

int store_device_add(struct store_tx *tx, const struct store_device *device) {
    return sql_run(tx,
                   "INSERT INTO devices (id, login, name, os, agent_version, state, enrolled_at, last_seen) "
                   "VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                   SQL_VALUES(sql_text(device->id), sql_text(device->login), sql_text(device->name),
                              sql_text(device->os), sql_text(device->agent_version),
                              sql_text(device_states[device->state]), sql_number(device->enrolled_at),
                              sql_number(device->last_seen)));
}

int store_device_get(struct store_tx *tx, const char *id, struct store_device *ret) {
    struct store_device device = {0};
    int r = sql_one(tx, "device",
                    "SELECT id, login, name, os, agent_version, state, enrolled_at, last_seen, "
                    "order_sequence, reported_at, report FROM devices WHERE id = $1",
                    SQL_VALUES(sql_text(id)), device_row, &device);
    if (r < 0) {
        store_device_finish(&device);
        return r;
    }
    *ret = device;
    return 0;
}

int store_device_each(struct store_tx *tx, const char *after, size_t limit, store_device_fn *fn, void *arg) {
    struct device_walk walk = {.fn = fn, .arg = arg};
    return sql_each(tx,
                    "SELECT id, login, name, os, agent_version, state, enrolled_at, last_seen, "
                    "order_sequence, reported_at FROM devices WHERE id > $1 AND state <> 'deleted' "
                    "ORDER BY id LIMIT $2",
                    SQL_VALUES(sql_text(after), sql_number((int64_t)limit)), device_walk_row, &walk);
}

int store_device_set_state(struct store_tx *tx, const char *id, enum device_state state) {
    return sql_change(tx, "UPDATE devices SET state = $1 WHERE id = $2",
                      SQL_VALUES(sql_text(device_states[state]), sql_text(id)));
}

int store_device_set_seen(struct store_tx *tx, const char *id, int64_t now) {
    return sql_run(tx, "UPDATE devices SET last_seen = $1 WHERE id = $2",
                   SQL_VALUES(sql_number(now), sql_text(id)));
}

int store_device_set_report(struct store_tx *tx, const char *id, const char *os, const char *agent_version,
                            const char *report, int64_t now) {
    return sql_change(
        tx, "UPDATE devices SET os = $1, agent_version = $2, report = $3, reported_at = $4 WHERE id = $5",
        SQL_VALUES(sql_text(os), sql_text(agent_version), sql_text(report), sql_number(now), sql_text(id)));
}

static int device_number_row(const struct sql_row *row, void *arg) {
    *(int64_t *)arg = sql_int(row, 0);
    return 0;
}

int store_device_next_sequence(struct store_tx *tx, const char *id, int64_t *ret) {
    int r = sql_change(tx, "UPDATE devices SET order_sequence = order_sequence + 1 WHERE id = $1",
                       SQL_VALUES(sql_text(id)));
    return r < 0 ? r
                 : sql_one(tx, "device", "SELECT order_sequence FROM devices WHERE id = $1",
                           SQL_VALUES(sql_text(id)), device_number_row, ret);
}

static int device_count_row(const struct sql_row *row, void *arg) {
    enum device_state state = DEVICE_ENROLLED;
    int r = device_read_state(row, 0, &state);
    if (r == 0)
        ((int64_t *)arg)[state] = sql_int(row, 1);
    return r;
}

int store_device_count(struct store_tx *tx, int64_t ret[DEVICE_STATES]) {
    memset(ret, 0, DEVICE_STATES * sizeof *ret);
    return sql_each(tx, "SELECT state, count(*) FROM devices GROUP BY state", NULL, 0, device_count_row, ret);
}

static int certificate_row(const struct sql_row *row, void *arg) {
    struct store_certificate *ret = arg;
    sql_copy(row, 0, ret->digest, sizeof ret->digest);
    sql_copy(row, 1, ret->device, sizeof ret->device);
    ret->issued_at = sql_int(row, 2);
    ret->expires_at = sql_int(row, 3);
    ret->first_used_at = sql_int(row, 4);
    ret->revoked_at = sql_int(row, 5);
    return 0;
}

int store_certificate_add(struct store_tx *tx, const struct store_certificate *c, const char *pem) {
    return sql_run(tx,
                   "INSERT INTO certificates (digest, device, pem, issued_at, expires_at, first_used_at) "
                   "VALUES ($1, $2, $3, $4, $5, $6)",
                   SQL_VALUES(sql_text(c->digest), sql_text(c->device), sql_text(pem),
                              sql_number(c->issued_at), sql_number(c->expires_at),
                              sql_time(c->first_used_at)));
}

int store_certificate_get(struct store_tx *tx, const char *digest, struct store_certificate *ret) {
    return sql_one(tx, "certificate",
                   "SELECT digest, device, issued_at, expires_at, first_used_at, revoked_at "
                   "FROM certificates WHERE digest = $1",
                   SQL_VALUES(sql_text(digest)), certificate_row, ret);
}

int store_certificate_first_use(struct store_tx *tx, const struct store_certificate *c, int64_t now) {
    int r =
        sql_run(tx, "UPDATE certificates SET first_used_at = $1 WHERE digest = $2 AND first_used_at IS NULL",
                SQL_VALUES(sql_number(now), sql_text(c->digest)));
    return r < 0 ? r
                 : sql_run(tx,
                           "UPDATE certificates SET revoked_at = $1 WHERE device = $2 AND digest <> $3 "
                           "AND issued_at <= $4 AND revoked_at IS NULL",
                           SQL_VALUES(sql_number(now), sql_text(c->device), sql_text(c->digest),
                                      sql_number(c->issued_at)));
}

int store_certificate_revoke_all(struct store_tx *tx, const char *device, int64_t now) {
    return sql_run(tx, "UPDATE certificates SET revoked_at = $1 WHERE device = $2 AND revoked_at IS NULL",
                   SQL_VALUES(sql_number(now), sql_text(device)));
}

int store_certificate_unused(struct store_tx *tx, const char *device, int64_t *ret) {
    return sql_one(tx, "device",
                   "SELECT count(*) FROM certificates WHERE device = $1 AND first_used_at IS NULL",
                   SQL_VALUES(sql_text(device)), device_number_row, ret);
}

struct certificate_walk {
    store_pem_fn *fn;
    void *arg;
};

static int certificate_walk_row(const struct sql_row *row, void *arg) {
    const struct certificate_walk *walk = arg;
    return row->columns[0].type == SQL_TEXT ? walk->fn(row->columns[0].text, walk->arg) : 0;
}

int store_certificate_each(struct store_tx *tx, const char *device, store_pem_fn *fn, void *arg) {
    struct certificate_walk walk = {.fn = fn, .arg = arg};
    return sql_each(tx, "SELECT pem FROM certificates WHERE device = $1 ORDER BY issued_at DESC",
                    SQL_VALUES(sql_text(device)), certificate_walk_row, &walk);
}

int store_certificate_each_unrevoked(struct store_tx *tx, const char *device, store_pem_fn *fn, void *arg) {
    struct certificate_walk walk = {.fn = fn, .arg = arg};
    return sql_each(tx,
                    "SELECT pem FROM certificates WHERE device = $1 AND revoked_at IS NULL "
                    "ORDER BY issued_at DESC",
                    SQL_VALUES(sql_text(device)), certificate_walk_row, &walk);
}
