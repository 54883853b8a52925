/*
 * Processes: starting a program, waiting for it, ending it, and finding the processes of this user.
 *
 * A `struct process` owns a pidfd, so that a number the kernel has given to somebody else is never signaled.
 * One thread at a time for each struct process; different ones are independent. Starting is safe from a
 * process with many threads: everything is prepared before the fork, and the child only makes system calls
 * until it executes. Nothing here survives a crash of this process but the children started without
 * `die_with_parent`; process_find() finds those again.
 */
#ifndef SATCHEL_LINUX_PROCESS_H
#define SATCHEL_LINUX_PROCESS_H

#include "platform/base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct process {
    pid_t pid;    /* 0: none */
    int pidfd;    /* owned; readable once the process has ended */
    bool is_ours; /* a child, to be reaped */
};

#define PROCESS_NONE ((struct process){.pid = 0, .pidfd = -1})

/* Forgets the process without ending it. */
void process_finish(struct process *p);
#define process_cleanup process_finish

/* The descriptor `from` of this process becomes `to` in the child; `to` is below PROCESS_FD_MAX. */
struct process_fd {
    int from;
    int to;
};

#define PROCESS_FD_MAX 32
#define PROCESS_INPUT_MAX ((size_t)4096) /* what a pipe takes without blocking */

struct process_spawn {
    const char *path;             /* the program, absolute */
    const char *const *argv;      /* NULL-terminated */
    const char *const *env;       /* NULL-terminated; NULL: the environment of this process */
    const struct process_fd *fds; /* 0, 1 and 2 are /dev/null where not named; everything else is closed */
    size_t n_fds;
    const void
        *input; /* what the child reads from descriptor 0 before the end of file; NULL: nothing. It passes
                   through a pipe alone, so it may be a secret; the caller clears its own memory. */
    size_t input_len;     /* up to PROCESS_INPUT_MAX */
    bool new_session;     /* setsid(): signals of the terminal do not reach it */
    bool no_core;         /* it holds keys or mail: no core dump */
    bool die_with_parent; /* SIGKILL when the *thread* that starts it ends: only from a thread that stays */
};

/* Starts the program; signals are at their defaults in it. ERR_SYSTEM, also when it cannot be executed. */
int process_spawn(const struct process_spawn *how, struct process *ret);

/*
 * Runs `fn(arg)` in a forked child and waits for its result, 0 to 127: for a system call that may block for
 * ever. `fn` may only make system calls. ERR_TIMEOUT when it is not back by `deadline`; the child is then
 * sent SIGKILL and given up.
 */
int process_probe(int (*fn)(const void *arg), const void *arg, int64_t deadline, int *ret_result);

/* The same without waiting: the child goes on by itself, and ends by SIGKILL with this thread. */
int process_begin(int (*fn)(const void *arg), const void *arg, struct process *ret);

/* Waits until the process has ended, by clock_boot_ms(). *ret_status (may be NULL): the exit status, 128 +
 * signal when a signal ended it, -1 where it was not our child. ERR_TIMEOUT. Ends with process_finish(). */
int process_wait(struct process *p, int64_t deadline, int *ret_status);

/* Sends a signal. 0 also when it has ended already; ERR_SYSTEM. */
int process_signal(struct process *p, int sig);

/* SIGKILL and process_wait(). 0 also where there is none. */
int process_kill(struct process *p, int64_t deadline);

/* One process among all that ever had its number: `start_time` in clock ticks after boot. */
struct process_id {
    pid_t pid;
    uint64_t start_time;
};

struct process_info {
    struct process_id id;
    pid_t parent;
    uid_t uid;           /* effective */
    char name[32];       /* the kernel's short name, printable */
    const char *exe;     /* path of the program, "" where it cannot be read */
    const char *cmdline; /* the arguments, each followed by NUL; `cmdline_len` bytes and one more NUL */
    size_t cmdline_len;
};

struct process_ids {
    struct process_id *list; /* owned */
    size_t n;
};

void process_ids_finish(struct process_ids *ids);
#define process_ids_cleanup process_ids_finish

/* Fills `ret` from /proc; no zombie. The buffer holds its strings. 1 when there is no such process. */
int process_read(pid_t pid, struct buf *text, struct process_info *ret);

/* Calls `match` for every process whose effective user is ours; those it wants are added to `ret`. */
int process_find(bool (*match)(const struct process_info *info, void *userdata), void *userdata,
                 struct process_ids *ret);

/* Opens a process found before. 1 when it has ended, also when its number belongs to another one now. */
int process_open(struct process_id id, struct process *ret);

/* True when argument number `i` of the command line is `text`. */
bool process_has_argument(const struct process_info *info, const char *text);

/* The absolute path of a program in $PATH (or the usual directories where it is unset). ERR_NOT_FOUND. The
 * caller frees it. */
int process_find_program(const char *name, char **ret);

#endif
