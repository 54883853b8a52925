/*
 * The agent: all that the worker thread owns, and what it can do. Every function here is called by the worker
 * alone (agent_init() before it starts). One file per duty: join.c (enrollment and password), take.c (the
 * server's state document), absence.c (when none comes), apply.c (the plan's steps), lock.c (lock and
 * unlock), renew.c (the certificate), erase.c (wipe and leave), agent.c (start, and what is shared).
 *
 * After a crash agent_load() finds the state again from the device record, the stored profile, the wipe
 * journal, the receipt, the keyring and an open vault; whatever was under way goes on.
 */
#ifndef SATCHEL_RECONCILE_AGENT_H
#define SATCHEL_RECONCILE_AGENT_H

#include "agent/reconcile/child.h"
#include "agent/state/board.h"
#include "agent/state/contact.h"
#include "agent/state/device.h"
#include "agent/state/identity.h"
#include "agent/state/outbox.h"
#include "agent/vault/vault.h"
#include "platform/keyring/keyring.h"
#include "platform/linux/paths.h"
#include "server-api/contract/order.h"
#include "server-api/contract/trust.h"

struct agent {
    const struct paths *paths; /* borrowed, as the next four */
    struct board *board;
    struct identity *identity;
    struct outbox *outbox;
    struct child *child;
    int state_dir;
    int cancel; /* eventfd: readable while a job that waits for the network should give way */
    struct keyring keyring;
    struct vault vault;
    struct device device;
    struct trust trust; /* opened from device.trust; empty while unenrolled */
    cJSON *profile;     /* owned: the one in force, or NULL */
    bool credential;    /* one is in the keyring */
    bool loaded;        /* keyring items were read since start or enrollment */
    bool mail_current;  /* the child has the profile and credential in force */
    int64_t mail_after; /* clock_boot_ms() before which the child is not started again */
    unsigned mail_failures;
    cJSON *begin;           /* owned: cause of a wipe whose journal is still to be written, or NULL */
    char told[BOARD_TEXT];  /* the failure of the wipe or lock that the server was told last */
    bool receipt_out;       /* the final receipt is in the outbox */
    bool duty_out;          /* the receipt of the last lock or unlock is */
    struct contact contact; /* since when there is none; see agent/state/contact.h */
    bool contact_known;     /* it was read, or begun */
    bool contact_merged;    /* the keyring's copy was taken into account */
    bool offline_over;      /* the time after which the profile demands a wipe has passed */
    int64_t contact_saved,
        contact_stored;  /* clock_boot_ms() of the last write to disk and keyring; 0: none */
    int64_t renew_at;    /* ms since 1970: when the certificate has had two thirds of its life; 0: none */
    int64_t renew_pause; /* ms between two requests for a further one */
    int64_t renew_after; /* clock_boot_ms() before which none is made */
    int64_t retry_at;    /* clock_boot_ms(); INT64_MAX: nothing to try again */
    unsigned failures;
};

/* agent.c */
int agent_init(struct agent *a);
void agent_finish(struct agent *a);

/* Takes up what the last run left. A damaged record is ERR_INVALID: the agent must not go on, nor guess. */
int agent_load(struct agent *a);

/* Does what is to be done now: secrets from the keyring, an unfinished wipe, the plan. Sets retry_at. */
void agent_reconcile(struct agent *a);

/* Puts device, profile, vault and keyring on the board. */
void agent_show(struct agent *a);

/* Opens the trust document with the root key of the record. */
int agent_open_trust(struct agent *a);

/* ERR_KEYRING with what to do, unless the keyring is there and unlocked. */
int agent_need_keyring(struct agent *a);

/* join.c */
int agent_enroll(struct agent *a, const char *link);

/* Takes back the key of an enrollment that was cut off, if there was one; after one that was not, the mark
 * that says so. */
void agent_undo_enrollment(struct agent *a);

int agent_credential(struct agent *a, const char *password);

/* take.c */
void agent_take(struct agent *a, const cJSON *document);

/* apply.c */
/* 0: reality is as wished. 1: the mail child is to be started again, but not before mail_after. */
int agent_apply(struct agent *a);

/* The account as the mail child wants it, without the password. The caller's; NULL with err_text(). */
cJSON *agent_account(const struct agent *a);

/* What carries out a verified order. `jws` and `payload` are the order as a document. */
typedef void agent_order_fn(struct agent *a, const struct order *order, const cJSON *jws,
                            const cJSON *payload);

/* lock.c */
agent_order_fn agent_lock_ordered, agent_unlock_ordered;

/* Keeps the vault of a locked device closed, and signs the receipt of the last lock or unlock where the
 * server has none yet. Any negative code: the vault is not closed, or the receipt not signed; call it again.
 */
int agent_lock(struct agent *a);

/* The server has the receipt of this order. */
int agent_lock_told(struct agent *a, const char *order);

/* absence.c */
/* The server answered, at the time that the stamp says. */
void agent_contact(struct agent *a, const char *stamp, bool trust_changed);

/* Counts the time without contact and does what the profile demands: warns, locks, begins a wipe. Returns
 * when to look again, clock_boot_ms(). */
int64_t agent_absent(struct agent *a);
void agent_forget_contact(struct agent *a);

/* renew.c */
/* Notes when the certificate is to be renewed; PEM. Called wherever it becomes ours. */
void agent_note_certificate(struct agent *a, const char *pem);

/* Asks for a further certificate at two thirds of the life of the present one. Returns when to look again,
 * clock_boot_ms(). */
int64_t agent_renew(struct agent *a);

/* The server's answer, NULL where it gives none: it is verified, stored, and used from then on. */
int agent_take_certificate(struct agent *a, const char *pem);

/* erase.c */
/* Begins the wipe that a verified order demands, and goes as far as it can. */
agent_order_fn agent_wipe;
int agent_leave(struct agent *a);

/* The same because of the profile's offline policy. It only puts the cause in place: agent_erase() goes on.
 */
void agent_wipe_offline(struct agent *a);

/* Goes on with a wipe or with the receipt after it, if there is one. 0: nothing is left to do. */
int agent_erase(struct agent *a);

/* The server has the receipt: the device key goes, and the device is unenrolled. */
int agent_forget(struct agent *a);

#endif
