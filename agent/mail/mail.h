/*
 * The mail child: the process `satcheld --role=mail`, which syncs the account into the vault. It is started
 * by the supervisor with one end of a SOCK_STREAM socketpair and nothing else: account and password come over
 * it, never by environment, arguments or disk. Newline-delimited JSON both ways (platform/base/frame.h).
 *
 * Supervisor to child:
 *   {"op":"try","account":ACCOUNT}                 logs in once, stores nothing; answered by "tried" within
 * 30 s
 *   {"op":"configure","account":ACCOUNT,"vault":{"path":"/abs","device":ST_DEV},"keep_days":0}
 *                                                  (re)starts syncing into <path>/Mail; the state is
 * <path>/mail-state/sync.db
 *   {"op":"sync","id":N,"confirm_deletions":false} a full pass now; answered by "synced" when everything is
 * up and down; true carries out mass deletions that were held back
 *   {"op":"stop"}                                  LOGOUT and exit 0
 * ACCOUNT = {"host","port","security":"tls"|"starttls","ca":"PEM, optional","login","password",
 *   "compress":"auto"|"always"|"never", optional}
 *
 * Child to supervisor:
 *   {"event":"tried","imap":WORD,"text":"..."}
 *   {"event":"status","imap":WORD,"push":"notify|idle|poll","folders":N,"messages":N,"pending":N,
 * "asks":N,"last_sync":"RFC
 * 3339"|null, "text":"what is wrong, or empty","retry_ms":N}                    on every change, at most
 * about five a second
 *   {"event":"progress","folder":"INBOX","done":N,"total":N,"bytes":N,"bytes_total":N} while messages come
 * down; over all folders
 *   {"event":"synced","id":N,"ok":true|false,"text":"..."}
 * WORD = connecting | ok | auth-failed | unreachable | tls-failed | protocol-error | vault-closed
 *
 * With the first account the child confines itself (confine.h): to the vault where the order is "configure",
 * to no file at all where it is "try". A child that began with "try" cannot be configured for a vault.
 *
 * The child ends at the end of the stream, and by SIGKILL with the thread that forked it (PR_SET_PDEATHSIG):
 * that thread must live as long as the child is wanted. It may be killed at any moment; the next start goes
 * on where it was.
 */
#ifndef SATCHEL_AGENT_MAIL_MAIL_H
#define SATCHEL_AGENT_MAIL_MAIL_H

/* The whole process, after main() has called log_init(). Returns the exit status. */
int mail_main(int fd);

#endif
