/*
 * Errors. A negative code is fatal for the operation and is passed on unchanged; a positive one is documented
 * by the function that returns it and must be handled. Whoever finds the failure calls err_set() once, with a
 * sentence for a person: what happened and, where it helps, what to do next. The text is the calling thread's
 * own and stays valid until its next err_set().
 */
#ifndef SATCHEL_BASE_ERR_H
#define SATCHEL_BASE_ERR_H

enum err_code {
    ERR_SYSTEM = -1,       /* the operating system said no (disk, memory, descriptors) */
    ERR_INVALID = -2,      /* bad input: from the network, the disk or a person */
    ERR_UNREACHABLE = -3,  /* no connection, or it broke; trying again later may help */
    ERR_REFUSED = -4,      /* the other side, or a rule of ours, says no; trying again does not help */
    ERR_AUTH = -5,         /* wrong credential */
    ERR_TLS = -6,          /* the peer's certificate or the handshake is not acceptable */
    ERR_KEYRING = -7,      /* no keyring, a locked one, or one that does not answer */
    ERR_TIMEOUT = -8,      /* a deadline passed */
    ERR_CANCELED = -9,     /* asked to stop */
    ERR_PROTOCOL = -10,    /* the peer breaks its protocol */
    ERR_TOO_LARGE = -11,   /* over a cap */
    ERR_NOT_FOUND = -12,   /* what was named does not exist */
    ERR_WRONG_STATE = -13, /* not possible in the present state */
    ERR_SIGNATURE = -14,   /* a signature is missing or does not verify */
    ERR_USAGE = -15,       /* a command line that makes no sense */
};

/* Keeps the text for err_text() and returns `code`. */
int err_set(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ERR_SYSTEM, with the text of errno behind ": ". */
int err_errno(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Puts "context: " before the text that is there and returns `code`. */
int err_context(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The last error of this thread, never NULL. */
const char *err_text(void);

/* A stable word for a code ("unreachable"), for JSON. */
const char *err_name(int code);

/* The exit status of a program for a code: 0 done, 1 failed, 2 usage, 3 not reachable, 4 refused. */
int err_exit(int code);

#endif
