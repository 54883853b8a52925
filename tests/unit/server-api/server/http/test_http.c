/* Router, hub, limit and workers. */
#include "platform/base/cleanup.h"
#include "server-api/server/http/hub.h"
#include "server-api/server/http/limit.h"
#include "server-api/server/http/router.h"
#include "server-api/server/http/workers.h"
#include "tests/unit/cm.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static const struct route_key routes[] = {{"GET", "/v1/things"},
                                          {"POST", "/v1/things"},
                                          {"GET", "/v1/things/{id}"},
                                          {"POST", "/v1/things/{id}/parts/{part}"},
                                          {"GET", "/v1/things/verify"}};

static enum router_outcome route(const char *method, const char *path, struct route_match *m) {
    return router_match(routes, sizeof *routes, sizeof routes / sizeof *routes, method, path, m);
}

static void test_router(void **state) {
    (void)state;
    struct route_match m;
    assert_int_equal(route("POST", "/v1/things", &m), ROUTER_FOUND);
    assert_int_equal(m.index, 1);
    assert_int_equal(route("GET", "/v1/things/abc", &m), ROUTER_FOUND);
    assert_string_equal(m.params[0], "abc");
    assert_int_equal(route("POST", "/v1/things/a/parts/b", &m), ROUTER_FOUND);
    assert_string_equal(m.params[0], "a");
    assert_string_equal(m.params[1], "b");
    assert_int_equal(route("DELETE", "/v1/things", &m), ROUTER_METHOD);
    assert_string_equal(m.allow, "GET, POST");
    static const char *const unknown[] = {
        "",   "/",           "/v1/things/",    "/v1/things//parts/b", "/v1/thing",
        "v1", "/v1/things2", "/v1/things/a/b", "/v1/things/a/parts/", "*"};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        assert_int_equal(route("GET", unknown[i], &m), ROUTER_UNKNOWN);
    char longest[128] = "/v1/things/";
    memset(longest + 11, 'x', 64);
    assert_int_equal(route("GET", longest, &m), ROUTER_FOUND);
    longest[75] = 'x';
    assert_int_equal(route("GET", longest, &m), ROUTER_UNKNOWN);
    assert_int_equal(route("get", "/v1/things", &m), ROUTER_METHOD);
}

struct sleeper {
    struct hub_entry entry;
    atomic_int woken;
};

static void sleeper_wake(struct hub_entry *entry) {
    ((struct sleeper *)entry)->woken++;
}

static void sleeper_init(struct sleeper *s, const char *key, int64_t deadline) {
    *s = (struct sleeper){.entry = {.wake = sleeper_wake, .deadline = deadline}};
    (void)snprintf(s->entry.key, sizeof s->entry.key, "%s", key);
}

static void test_hub(void **state) {
    (void)state;
    struct hub *h = hub_create();
    struct sleeper a, b, c;
    sleeper_init(&a, "a", 100);
    sleeper_init(&b, "b", 200);
    sleeper_init(&c, "a", INT64_MAX);
    assert_true(hub_park(h, &a.entry, hub_ticket(h, "a")));
    assert_true(hub_park(h, &b.entry, hub_ticket(h, "b")));
    assert_true(hub_park(h, &c.entry, hub_ticket(h, "a")));
    assert_int_equal(hub_parked(h), 3);
    hub_expire(h, 99);
    assert_int_equal(a.woken + b.woken + c.woken, 0);
    hub_expire(h, 100);
    assert_int_equal(a.woken, 1);
    uint64_t ticket = hub_ticket(h, "a");
    hub_wake(h, "a");
    assert_int_equal(c.woken, 1);
    assert_int_equal(a.woken, 1);
    assert_int_equal(b.woken, 0);
    assert_false(hub_park(h, &a.entry, ticket)); /* something happened since */
    assert_true(hub_park(h, &a.entry, hub_ticket(h, "a")));
    ticket = hub_ticket(h, "b");
    hub_wake_all(h);
    assert_int_equal(a.woken, 2);
    assert_int_equal(b.woken, 1);
    assert_false(hub_park(h, &b.entry, ticket));
    assert_true(hub_park(h, &b.entry, hub_ticket(h, "b")));
    hub_close(h);
    assert_int_equal(b.woken, 2);
    assert_true(hub_park(h, &b.entry, 12345)); /* closed: woken at once */
    assert_int_equal(b.woken, 3);
    assert_int_equal(hub_parked(h), 0);
    hub_destroy(h);
}

/* One thread changes a number and wakes; others look, park, and are never left behind. */
struct race {
    struct hub *hub;
    atomic_int number;
};

static void race_wake(struct hub_entry *entry);

struct racer {
    struct hub_entry entry;
    sem_t woken;
    struct race *race;
};

static void race_wake(struct hub_entry *entry) {
    (void)sem_post(&((struct racer *)entry)->woken);
}

#define RACE_ROUNDS 2000

static void *racer_run(void *arg) {
    struct racer *r = arg;
    for (int seen = 0; seen < RACE_ROUNDS;) {
        uint64_t ticket = hub_ticket(r->race->hub, r->entry.key);
        int now = atomic_load(&r->race->number);
        if (now > seen) {
            seen = now;
            continue;
        }
        if (hub_park(r->race->hub, &r->entry, ticket))
            while (sem_wait(&r->woken) < 0)
                ;
    }
    return NULL;
}

static void test_hub_loses_no_wake_up(void **state) {
    (void)state;
    struct race race = {.hub = hub_create()};
    struct racer racers[4];
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++) {
        racers[i] =
            (struct racer){.entry = {.wake = race_wake, .key = "k", .deadline = INT64_MAX}, .race = &race};
        (void)sem_init(&racers[i].woken, 0, 0);
        assert_int_equal(pthread_create(&threads[i], NULL, racer_run, &racers[i]), 0);
    }
    for (int i = 0; i < RACE_ROUNDS; i++) {
        atomic_fetch_add(&race.number, 1);
        if (i % 2)
            hub_wake(race.hub, "k");
        else
            hub_wake_all(race.hub);
    }
    for (size_t i = 0; i < 4; i++)
        (void)pthread_join(threads[i], NULL);
    hub_destroy(race.hub);
}

static struct sockaddr_storage peer(const char *text) {
    struct sockaddr_storage storage = {0};
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
        memcpy(&storage, &v4, sizeof v4);
    else if (inet_pton(AF_INET6, text, &v6.sin6_addr) == 1)
        memcpy(&storage, &v6, sizeof v6);
    return storage;
}

static bool allows(struct limit *l, const char *address, int64_t now) {
    struct sockaddr_storage p = peer(address);
    int seconds = 0;
    bool ok = limit_allows(l, (struct sockaddr *)&p, now, &seconds);
    assert_true(ok || (seconds >= 1 && seconds <= 61));
    return ok;
}

static void fail_times(struct limit *l, const char *address, int64_t now, int n) {
    struct sockaddr_storage p = peer(address);
    while (n--)
        limit_failed(l, (struct sockaddr *)&p, now);
}

static void test_limit(void **state) {
    (void)state;
    struct limit *l = limit_create(3);
    fail_times(l, "10.0.0.1", 1000, 2);
    assert_true(allows(l, "10.0.0.1", 1000));
    fail_times(l, "10.0.0.1", 1000, 1);
    assert_false(allows(l, "10.0.0.1", 1000));
    assert_false(allows(l, "::ffff:10.0.0.1", 1000));
    assert_true(allows(l, "10.0.0.2", 1000));
    assert_true(allows(l, "10.0.0.1", 1000 + 60000));
    fail_times(l, "10.0.0.1", 1000 + 60000, 1); /* a new minute begins to count */
    assert_true(allows(l, "10.0.0.1", 1000 + 60000));
    fail_times(l, "2001:db8::1", 1000, 3);
    assert_false(allows(l, "2001:db8::ffff", 1000)); /* the same /64 */
    assert_true(allows(l, "2001:db8:0:1::1", 1000));
    for (uint32_t i = 0; i < 50000; i++) {
        struct in_addr a = {htonl(0x0b000000 + i)};
        char text[INET_ADDRSTRLEN];
        fail_times(l, inet_ntop(AF_INET, &a, text, sizeof text), 2000, 1);
    }
    limit_destroy(l);
}

struct count_task {
    struct workers_task task;
    atomic_int *count;
};

static void count_run(struct workers_task *task) {
    atomic_fetch_add(((struct count_task *)task)->count, 1);
}

static void test_workers(void **state) {
    (void)state;
    static struct count_task tasks[1000];
    atomic_int count = 0;
    struct workers *w = workers_create(4);
    for (size_t i = 0; i < 1000; i++) {
        tasks[i] = (struct count_task){.task.run = count_run, .count = &count};
        workers_submit(w, &tasks[i].task);
    }
    workers_destroy(w); /* runs what was submitted */
    assert_int_equal(count, 1000);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_router), cmocka_unit_test(test_hub),
                                       cmocka_unit_test(test_hub_loses_no_wake_up),
                                       cmocka_unit_test(test_limit), cmocka_unit_test(test_workers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
