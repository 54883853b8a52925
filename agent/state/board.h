/*
 * The board: what everybody in satcheld may know about the present state, and what `satchel status` shows.
 * Each thread writes the part that is its own between board_begin() and board_end(), briefly; everybody reads
 * copies. Nothing secret and no name of a message stands on it.
 */
#ifndef SATCHEL_STATE_BOARD_H
#define SATCHEL_STATE_BOARD_H

#include "agent/state/device.h"
#include "agent/state/progress.h"

#include <limits.h>
#include <pthread.h>

#define BOARD_TEXT 400

struct board_view {
    /* worker */
    enum device_state state;
    char organization[129], device[65], server[300], login[255], address[255];
    char profile_id[65];
    int64_t profile_version;  /* 0: none */
    int64_t check_in_seconds; /* of the profile; 0: none */
    bool state_taken;         /* the server's state was taken in at least once since the enrollment */
    int64_t problem_version;  /* of a profile that was refused */
    char problem[BOARD_TEXT]; /* why; empty: none was */
    char clients[512];        /* the profile's clients, each followed by a space */
    bool credential;          /* the mail password is in the keyring */
    char work[BOARD_TEXT];    /* what the worker cannot do at the moment, and what to do about it */
    char vault_driver[16], vault_path[PATH_MAX];
    bool vault_open;
    int64_t vault_bytes,
        vault_count_after; /* of the ciphertext; clock_boot_ms() before which it is not counted again */
    bool keyring_available, keyring_locked;
    char wipe_order[65], wipe_text[BOARD_TEXT];
    int64_t offline_lock_left, offline_wipe_left; /* ms without contact that are left; -1: no such policy */
    bool lock_ordered, lock_offline;              /* as in the device record */
    int64_t lock_since;
    char lock_reason[ORDER_REASON_MAX + 1];
    /* channel */
    bool connected;
    int64_t last_contact, disconnected_since; /* ms since 1970; 0: never */
    char server_text[BOARD_TEXT];
    /* mail child's reader */
    bool mail_running;
    char imap[24], push[16], last_sync[40], mail_text[BOARD_TEXT];
    int64_t folders, messages, pending;
    int64_t asks; /* folders whose mass deletion waits for a confirmation */
    struct progress progress;
    int64_t synced_id; /* the last `sync` that ended */
    bool synced_ok;
    char synced_text[BOARD_TEXT];
};

struct board {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t generation;
    int notify; /* eventfd that is written at each change, or -1; set before threads start */
    struct board_view view;
};

int board_init(struct board *b);

/* Locks the board and hands out the view for writing. No blocking call until board_end(). */
struct board_view *board_begin(struct board *b);
void board_end(struct board *b);

/* A copy of the view; returns its generation. */
uint64_t board_get(struct board *b, struct board_view *ret);

/* Waits until the generation differs from `seen`. 0, or ERR_TIMEOUT at `deadline` (clock_boot_ms()). */
int board_wait(struct board *b, uint64_t seen, int64_t deadline);

/* Copies text into a field of the view, cut to its size. */
#define board_text(field, ...) ((void)snprintf(field, sizeof field, __VA_ARGS__))

/* The document of `satchel status --json`. The caller's; NULL without memory. */
cJSON *board_json(const struct board_view *v);

#endif
