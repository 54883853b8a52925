/*
 * Condition variables with deadlines: pthread_cond_timedwait(3) as the rest of the project counts time.
 */
#ifndef SATCHEL_BASE_WAIT_H
#define SATCHEL_BASE_WAIT_H

#include <pthread.h>
#include <stdint.h>

/* Makes a mutex and a condition for wait_until(). ERR_SYSTEM. */
int wait_init(pthread_mutex_t *lock, pthread_cond_t *changed);

/*
 * Waits until the condition is signaled, `deadline` (clock_boot_ms() or INT64_MAX) has passed, or a minute is
 * over: the condition's own clock stands still in suspend, the deadline's does not. The caller, who holds the
 * lock, looks again at what it waits for.
 */
void wait_until(pthread_cond_t *changed, pthread_mutex_t *lock, int64_t deadline);

#endif
