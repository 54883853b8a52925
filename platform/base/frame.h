/*
 * Newline-delimited JSON over a stream socket: the control socket and the socketpair to the mail child. One
 * thread at a time for each direction. Memory of received lines is cleared, since a line may carry a
 * credential.
 */
#ifndef SATCHEL_BASE_FRAME_H
#define SATCHEL_BASE_FRAME_H

#include "platform/base/buf.h"
#include "platform/base/json.h"

#include <stdint.h>

#define FRAME_MAX ((size_t)1 << 20) /* bytes a line */

struct frame {
    int fd; /* borrowed */
    struct buf in;
};

void frame_init(struct frame *f, int fd);
void frame_finish(struct frame *f);
#define frame_cleanup frame_finish

/* Writes one document and a newline. `deadline`: clock_boot_ms() or INT64_MAX. ERR_UNREACHABLE when the peer
 * is gone, ERR_TIMEOUT. Never raises SIGPIPE. */
int frame_send(int fd, const cJSON *json, int64_t deadline);

/*
 * Reads the next document. `cancel`: a descriptor whose readability ends the wait with ERR_CANCELED, or -1.
 * ERR_UNREACHABLE at the end of the stream, ERR_TIMEOUT, ERR_TOO_LARGE, ERR_INVALID for a line that is not
 * JSON (the line is dropped and the next call goes on behind it).
 */
int frame_recv(struct frame *f, int cancel, int64_t deadline, cJSON **ret);

#endif
