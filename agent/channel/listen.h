/*
 * The listening thread of the channel: GET /v1/device/state as a long poll. See channel.h.
 */
#ifndef SATCHEL_CHANNEL_LISTEN_H
#define SATCHEL_CHANNEL_LISTEN_H

/* Thread function; `channel` is a struct channel. */
void *listen_run(void *channel);

#endif
