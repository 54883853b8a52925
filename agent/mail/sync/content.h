/*
 * What is in a message file: sizes, checksums and the Message-ID, and the file as the server wants it (every
 * line ended by CRLF, also the last one). One pass, in constant memory.
 */
#ifndef SATCHEL_AGENT_MAIL_SYNC_CONTENT_H
#define SATCHEL_AGENT_MAIL_SYNC_CONTENT_H

#include "platform/base/buf.h"

#include <stdbool.h>
#include <stdint.h>

struct content {
    uint64_t size;      /* bytes of the file */
    uint32_t crc;       /* CRC-32 of them */
    uint64_t wire_size; /* the same as it is sent */
    uint32_t wire_crc;
    uint64_t id; /* hash of the Message-ID, 0: none */
};

/* Reads the file from its start. ERR_SYSTEM. */
int content_measure(int fd, struct content *ret);

/* Hash of the Message-ID in a header of `n` bytes, 0: none. White space around and inside does not count. */
uint64_t content_id(const char *header, size_t n);

/* CRC-32 of more bytes; starts with 0. */
uint32_t content_crc(uint32_t crc, const char *data, size_t n);

/* Hands the file to `out` as it is sent, in pieces. Negative codes of `out` are passed on; ERR_PROTOCOL
 * when the file ends before `wire_size` bytes, which the caller has announced: the session is of no use then.
 * ERR_SYSTEM when it cannot be read. */
int content_send(int fd, uint64_t wire_size, int (*out)(void *ctx, const char *data, size_t n), void *ctx);

#endif
