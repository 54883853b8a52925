/*
 * The wipe: takes the company's mail off this device, whatever else is broken. It needs no network, no mail
 * child, no open vault and no answer of the keyring to begin; it uses platform/ and the interface of the
 * vault, and what its caller hands in.
 *
 * Order of calls, all on the worker's thread:
 *   wipe_begin   the order has been verified (or the employee wants it): the journal is written, nothing is
 *                erased yet. From here on every start of satcheld finds it.
 *   wipe_run     all steps; again later while the result is "failed"
 *   (the caller signs and delivers the receipt, then removes the device key)
 *   wipe_finish  the receipt was acknowledged: the journal goes
 * At every start: wipe_pending, and if there is one, the caller verifies the order in its `cause` AGAIN and
 * calls wipe_run. Killed at any point, the same end is reached: every step looks at what is there.
 *
 * The journal is `wipe.json` in the state directory, replaced atomically. Each step is written to it before
 * it starts, and with its outcome afterwards. It holds no secret and no name of a message. A journal that is
 * not one (a damaged disk, somebody's joke) is ERR_INVALID and erases nothing: the caller reports it, moves
 * it away with wipe_set_aside() and waits for the server to repeat the order.
 *
 * The steps: kill-mail-child, destroy-key, end-holders, close-vault, remove-ciphertext, remove-secrets,
 * remove-account, verify. The key dies before anything that takes long. A step that fails does not stop the
 * others; all are tried a few times. The result is "done" only when the last step looked and found nothing.
 */
#ifndef SATCHEL_WIPE_H
#define SATCHEL_WIPE_H

#include "agent/vault/vault.h"
#include "platform/base/json.h"
#include "platform/keyring/keyring.h"

#include <stdint.h>

#define WIPE_PENDING 1
#define WIPE_NOTHING 1
#define WIPE_CAUSE_MAX ((size_t)256 << 10) /* bytes of the cause as text */

struct wipe_target {
    int state_dir;                       /* borrowed */
    struct keyring *keyring;             /* its timeout is changed during the run and set back */
    struct vault *vault;                 /* open or not */
    const struct holders_except *except; /* processes of ours that stay; may be NULL */
    const char *const *kept_kinds;       /* NULL-terminated: keyring items that stay to sign the receipt */
    const char *const *leftovers;        /* NULL-terminated absolute paths that must be gone; may be NULL */
    int (*kill_mail_child)(void *userdata); /* 0, WIPE_NOTHING, or an error; must not block for long */
    int (*remove_account)(void *userdata);  /* out of clients and device records; the same */
    int (*count_account)(void *userdata, uint64_t *ret_found); /* what remove_account left; may be NULL */
    void *userdata;
};

/*
 * Writes the journal. `cause` is kept word for word: the order with its JWS, or who asked and when.
 * WIPE_PENDING when a wipe is pending already (which stays as it is); ERR_TOO_LARGE; ERR_SYSTEM: nothing was
 * begun.
 */
int wipe_begin(int state_dir, const cJSON *cause);

/*
 * WIPE_PENDING with the journal (`cause`, and `result` where wipe_run has come to one), 0 without;
 * ERR_INVALID for something that is not a journal, ERR_SYSTEM.
 */
int wipe_pending(int state_dir, cJSON **ret_journal);

/* Renames what wipe_pending called invalid to wipe.json.bad.* */
int wipe_set_aside(int state_dir);

/*
 * Runs the steps. 0 with a result, "done" or "failed"; the caller deletes it. ERR_WRONG_STATE without a
 * journal, ERR_INVALID for a bad one. Under a second for an ordinary vault, up to half a
 * minute when the keyring is silent (the vault is gone long before). A result that was "done" once is given
 * again, unchanged, without running anything.
 *
 * {"result": "done"|"failed", "reason" (of the first step that failed),
 *  "steps": [{"name", "outcome": "done"|"failed"|"nothing-to-do", "started_at", "duration_ms", "detail"?}],
 *  "vault": {"driver"}, "removed": {"files", "bytes"}, "checked": [{"what", "found": N or null, "error"?}],
 *  "started_at", "finished_at", "unreadable_at": when both the keyring's key and the vault's were gone, or
 * null}
 */
int wipe_run(const struct wipe_target *target, cJSON **ret_result);

/* Removes the journal. 0 also without one. */
int wipe_finish(int state_dir);

#endif
