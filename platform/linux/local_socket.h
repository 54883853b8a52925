/*
 * The local stream socket between satchel and satcheld. Who is on the other side is told by the kernel
 * (SO_PEERCRED), not by anything that is sent. Paths longer than sun_path are reached through a descriptor of
 * their directory.
 */
#ifndef SATCHEL_LINUX_LOCAL_SOCKET_H
#define SATCHEL_LINUX_LOCAL_SOCKET_H

/* Listens at `path` (mode 0600), replacing a socket that nobody serves any more. */
int local_socket_listen(const char *path, int *ret_fd);

/* Connects. ERR_UNREACHABLE where nobody listens. */
int local_socket_connect(const char *path, int *ret_fd);

/* ERR_REFUSED unless the peer runs as this user (or as root, who could read our memory anyway). */
int local_socket_check_peer(int fd);

#endif
