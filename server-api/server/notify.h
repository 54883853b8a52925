/*
 * Tells the service manager how we are (sd_notify(3)). Twenty lines of our own instead of libsystemd: the
 * protocol is one datagram, and the library would be the server's largest dependency.
 */
#ifndef SATCHEL_SERVER_NOTIFY_H
#define SATCHEL_SERVER_NOTIFY_H

/* "READY=1", "STOPPING=1". Without a service manager, or when it does not listen: nothing. */
void notify_state(const char *state);

#endif
