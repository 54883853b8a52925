#include "platform/base/wait.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"

#include <time.h>

#define WAIT_MOST_MS 60000

int wait_init(pthread_mutex_t *lock, pthread_cond_t *changed) {
    pthread_condattr_t attr;
    if (pthread_condattr_init(&attr) || pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) ||
        pthread_cond_init(changed, &attr) || pthread_mutex_init(lock, NULL))
        return err_set(ERR_SYSTEM, "cannot make a lock");
    (void)pthread_condattr_destroy(&attr);
    return 0;
}

void wait_until(pthread_cond_t *changed, pthread_mutex_t *lock, int64_t deadline) {
    int left = clock_left(deadline);
    int64_t ms = left < 0 || left > WAIT_MOST_MS ? WAIT_MOST_MS : left;
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t ns = until.tv_nsec + ms % 1000 * 1000000;
    until.tv_sec += ms / 1000 + ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    (void)pthread_cond_timedwait(changed, lock, &until);
}
