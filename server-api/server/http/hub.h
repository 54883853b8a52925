/*
 * The hub: who waits for what. A request parks under a key (a device's id, an order's id) and is woken when
 * something under that key changed, when everything changed, or at its deadline. Any thread.
 *
 * No wake-up is lost: take a ticket, look at the store, park with the ticket. A change in between makes the
 * ticket stale, the parking is refused, and the caller looks again.
 */
#ifndef SATCHEL_SERVER_HTTP_HUB_H
#define SATCHEL_SERVER_HTTP_HUB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HUB_KEY_SIZE 65

struct hub;

/* Part of what waits; the hub's while it is parked. `wake` is called once, under the hub's lock: it must only
 * hand the work on. Afterwards the entry is its owner's again. */
struct hub_entry {
    void (*wake)(struct hub_entry *entry);
    char key[HUB_KEY_SIZE];
    int64_t deadline; /* clock_boot_ms() */
    struct hub_entry *next, **link;
};

/* NULL with err_text(). */
struct hub *hub_create(void);
void hub_destroy(struct hub *h);

uint64_t hub_ticket(struct hub *h, const char *key);

/* Parks the entry, or returns false when the ticket is stale. Once true is returned the entry may be woken,
 * and gone, already. */
bool hub_park(struct hub *h, struct hub_entry *entry, uint64_t ticket);

void hub_wake(struct hub *h, const char *key);
void hub_wake_all(struct hub *h);

/* Wakes those whose deadline has passed. Called by the timer a few times a second. */
void hub_expire(struct hub *h, int64_t now);

/* Wakes all and lets nobody park any more (hub_park() then says true and wakes at once). */
void hub_close(struct hub *h);

size_t hub_parked(struct hub *h);

#endif
