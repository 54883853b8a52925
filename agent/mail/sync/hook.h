/*
 * A mark after everything that lasts: a commit of the state database, a file placed, renamed or removed, a
 * command that the server carried out. Does nothing; the crash test brings another one
 * (tests/crash/mail_hook.c).
 */
#ifndef SATCHEL_AGENT_MAIL_SYNC_HOOK_H
#define SATCHEL_AGENT_MAIL_SYNC_HOOK_H

void mail_hook_step(void);

#endif
