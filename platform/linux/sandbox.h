/*
 * What this process may still do, taken away by the kernel and never given back: files and TCP ports by
 * Landlock (sandbox_files.c), system calls by seccomp (sandbox_calls.c). Programs that it could start would
 * be confined as well; here none can be started at all.
 *
 * sandbox_enter() is called once, while the process has one thread: threads made later are confined, others
 * are not. A kernel without Landlock (before 5.19, or switched off) confines system calls alone; the caller
 * is told, and shows it. What is there and fails is an error, and the caller must not go on.
 */
#ifndef SATCHEL_LINUX_SANDBOX_H
#define SATCHEL_LINUX_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Paths are absolute; those that do not exist are left out. Symbolic links are followed now, once. */
struct sandbox {
    const char *const *read; /* NULL-terminated; with everything below. Beside it sandbox_system, always */
    const char *list;        /* a directory whose entries may be listed, and of those below; or NULL */
    const char *write;       /* a directory below which regular files and directories may be made; or NULL */
    uint16_t ports[4];       /* the only TCP ports to connect to; all 0: any */
};

/* What name resolution, TLS with the system's authorities, time zones and shared libraries read. */
extern const char *const sandbox_system[];

struct sandbox_state {
    int landlock; /* the version of its interface; 0: none */
    bool files;   /* only the named files */
    bool ports;   /* only the named TCP ports, and none to listen on */
    bool outside; /* no signal to, and no abstract socket of, a process outside */
    bool calls;   /* only the known system calls: no program is started, no process looked into */
};

/* What the kernel can enforce. */
void sandbox_look(struct sandbox_state *ret);

/* Confines this process. *ret (may be NULL): what is enforced from now on. ERR_SYSTEM. */
int sandbox_enter(const struct sandbox *s, struct sandbox_state *ret);

/* What is enforced on another process of this user, as far as the kernel tells: it does not tell of Landlock.
 */
struct sandbox_seen {
    bool no_new_privileges; /* Landlock and seccomp need it */
    bool calls;             /* a filter of system calls is in place */
    bool no_core;           /* no core dump is written to a file */
};

/* 1 when there is no such process. */
int sandbox_see(pid_t pid, struct sandbox_seen *ret);

/* The two parts; used by sandbox.c. */
int sandbox_files(const struct sandbox *s, struct sandbox_state *state);
int sandbox_calls(void);
int sandbox_landlock_version(void);

#endif
