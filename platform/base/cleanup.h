/*
 * Cleanup attributes: a local variable frees what it owns when it goes out of scope, on every path.
 * `cleanup(X)` calls X_cleanup(&variable). `steal(p)` hands ownership on.
 */
#ifndef SATCHEL_BASE_CLEANUP_H
#define SATCHEL_BASE_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define cleanup(type) __attribute__((cleanup(type##_cleanup)))

#define steal(p)                                                                                             \
    __extension__({                                                                                          \
        __typeof__(p) steal_value_ = (p);                                                                    \
        (p) = NULL;                                                                                          \
        steal_value_;                                                                                        \
    })

static inline int steal_fd(int *fd) {
    int value = *fd;
    *fd = -1;
    return value;
}

static inline void free_cleanup(void *p) {
    free(*(void **)p);
}

static inline void fd_cleanup(const int *fd) {
    if (*fd >= 0)
        (void)close(*fd);
}

static inline void stream_cleanup(FILE **f) {
    if (*f)
        (void)fclose(*f);
}

#endif
