/*
 * Telling a service manager about our state: sd_notify(3)'s protocol, one datagram to $NOTIFY_SOCKET. These
 * few lines in place of libsystemd, which would be a dependency of the agent on systemd.
 */
#ifndef SATCHEL_LINUX_NOTIFY_H
#define SATCHEL_LINUX_NOTIFY_H

/* Sends "READY=1" and the like. Without a service manager, or where that does not listen, nothing happens. */
void notify_service(const char *state);

#endif
