#include "platform/base/encode.h"
#include "platform/base/err.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static const char encode_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

char *encode_base64url(const void *data, size_t n) {
    const unsigned char *in = data;
    char *out = malloc(n / 3 * 4 + 5);
    if (!out)
        return NULL;
    size_t o = 0;
    for (size_t i = 0; i < n; i += 3) {
        size_t have = n - i < 3 ? n - i : 3;
        uint32_t v =
            (uint32_t)in[i] << 16 | (have > 1 ? (uint32_t)in[i + 1] << 8 : 0) | (have > 2 ? in[i + 2] : 0);
        for (size_t k = 0; k <= have; k++)
            out[o++] = encode_alphabet[v >> (18 - 6 * k) & 63];
    }
    out[o] = '\0';
    return out;
}

static int decode_digit(char c) {
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

int decode_base64url(const char *text, size_t n, struct buf *ret) {
    if (n % 4 == 1)
        return err_set(ERR_INVALID, "truncated base64url");
    struct buf out = {.secret = ret->secret, .max = ret->max};
    int r = buf_reserve(&out, n / 4 * 3 + 3);
    uint32_t v = 0;
    unsigned bits = 0;
    for (size_t i = 0; r == 0 && i < n; i++) {
        int digit = decode_digit(text[i]);
        if (digit < 0) {
            r = err_set(ERR_INVALID, "a character that is not base64url");
            break;
        }
        v = v << 6 | (uint32_t)digit;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            out.data[out.len++] = (char)(v >> bits);
            v &= (1U << bits) - 1;
        }
    }
    if (r == 0 && v)
        r = err_set(ERR_INVALID, "stray bits at the end of base64url");
    if (r == 0)
        r = buf_add(ret, out.data, out.len);
    buf_finish(&out);
    return r;
}

char *encode_hex(const void *data, size_t n) {
    static const char digits[] = "0123456789abcdef";
    const unsigned char *in = data;
    char *out = malloc(2 * n + 1);
    if (!out)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[in[i] >> 4];
        out[2 * i + 1] = digits[in[i] & 15];
    }
    out[2 * n] = '\0';
    return out;
}

void random_bytes(void *data, size_t n) {
    unsigned char *p = data;
    while (n) {
        ssize_t got = getrandom(p, n, 0);
        if (got < 0 && errno != EINTR)
            abort(); /* nothing here is safe without randomness */
        if (got > 0) {
            p += got;
            n -= (size_t)got;
        }
    }
}

char *random_id(char out[RANDOM_ID_SIZE]) {
    static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";
    unsigned char raw[RANDOM_ID_SIZE - 1];
    random_bytes(raw, sizeof raw);
    for (size_t i = 0; i < sizeof raw; i++)
        out[i] = digits[raw[i] & 31];
    out[sizeof raw] = '\0';
    return out;
}
