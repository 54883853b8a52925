#include "platform/base/frame.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

void frame_init(struct frame *f, int fd) {
    f->fd = fd;
    buf_init(&f->in, FRAME_MAX + 65536, true);
}

void frame_finish(struct frame *f) {
    buf_finish(&f->in);
}

static int frame_wait(int fd, short events, int cancel, int64_t deadline) {
    struct pollfd p[2] = {{.fd = fd, .events = events}, {.fd = cancel, .events = POLLIN}};
    for (;;) {
        int n = poll(p, cancel >= 0 ? 2 : 1, clock_left(deadline));
        if (n < 0 && errno != EINTR)
            return err_errno("cannot wait for a socket");
        if (n > 0 && cancel >= 0 && p[1].revents)
            return err_set(ERR_CANCELED, "canceled");
        if (n > 0 && p[0].revents)
            return 0;
        if (clock_left(deadline) == 0)
            return err_set(ERR_TIMEOUT, "no answer in time");
    }
}

int frame_send(int fd, const cJSON *json, int64_t deadline) {
    struct buf line = {.secret = true, .max = FRAME_MAX};
    char *text = json_print(json);
    int r = text ? buf_add_str(&line, text) : err_set(ERR_SYSTEM, "out of memory");
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
    if (r == 0)
        r = buf_add(&line, "\n", 1);
    for (size_t sent = 0; r == 0 && sent < line.len;) {
        ssize_t n = send(fd, line.data + sent, line.len - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0)
            sent += (size_t)n;
        else if (errno == EAGAIN)
            r = frame_wait(fd, POLLOUT, -1, deadline);
        else if (errno != EINTR)
            r = err_set(ERR_UNREACHABLE, "the other side of the socket is gone: %s", strerror(errno));
    }
    buf_finish(&line);
    return r;
}

/* Takes the first line out of the buffer. 1: there was none yet. */
static int frame_take(struct frame *f, cJSON **ret) {
    const char *end = f->in.len ? memchr(f->in.data, '\n', f->in.len) : NULL;
    if (!end)
        return f->in.len > FRAME_MAX ? err_set(ERR_TOO_LARGE, "a line over %zu bytes", FRAME_MAX) : 1;
    size_t n = (size_t)(end - f->in.data);
    int r = json_parse(f->in.data, n, ret);
    explicit_bzero(f->in.data, n);
    buf_consume(&f->in, n + 1);
    return r;
}

int frame_recv(struct frame *f, int cancel, int64_t deadline, cJSON **ret) {
    for (;;) {
        int r = frame_take(f, ret);
        if (r <= 0)
            return r;
        r = frame_wait(f->fd, POLLIN, cancel, deadline);
        if (r < 0)
            return r;
        char chunk[16384];
        ssize_t n = recv(f->fd, chunk, sizeof chunk, MSG_DONTWAIT);
        if (n == 0)
            return err_set(ERR_UNREACHABLE, "the other side closed the socket");
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return err_set(ERR_UNREACHABLE, "the socket broke: %s", strerror(errno));
        r = n > 0 ? buf_add(&f->in, chunk, (size_t)n) : 0;
        explicit_bzero(chunk, sizeof chunk);
        if (r < 0)
            return r;
    }
}
