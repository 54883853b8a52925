/*
 * The delivering thread of the channel: POST /v1/device/report, /v1/device/receipts and
 * /v1/device/certificate. See channel.h.
 */
#ifndef SATCHEL_CHANNEL_DELIVER_H
#define SATCHEL_CHANNEL_DELIVER_H

/* Thread function; `channel` is a struct channel. */
void *deliver_run(void *channel);

#endif
