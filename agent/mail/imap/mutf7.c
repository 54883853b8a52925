#include "agent/mail/imap/mutf7.h"
#include "platform/base/err.h"

#include <stdint.h>
#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

static int mutf7_bad(void) {
    return err_set(ERR_INVALID, "a mailbox name is not in modified UTF-7");
}

static int utf8_put(struct buf *ret, uint32_t c) {
    unsigned char out[4];
    size_t n = 0;
    if (c < 0x80) {
        out[n++] = (unsigned char)c;
    } else if (c < 0x800) {
        out[n++] = (unsigned char)(0xc0 | c >> 6);
        out[n++] = (unsigned char)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        out[n++] = (unsigned char)(0xe0 | c >> 12);
        out[n++] = (unsigned char)(0x80 | (c >> 6 & 0x3f));
        out[n++] = (unsigned char)(0x80 | (c & 0x3f));
    } else {
        out[n++] = (unsigned char)(0xf0 | c >> 18);
        out[n++] = (unsigned char)(0x80 | (c >> 12 & 0x3f));
        out[n++] = (unsigned char)(0x80 | (c >> 6 & 0x3f));
        out[n++] = (unsigned char)(0x80 | (c & 0x3f));
    }
    return buf_add(ret, out, n);
}

struct run {
    uint32_t bits; /* not yet a whole unit */
    int count;
    uint32_t high; /* a surrogate that waits for its other half */
};

/* One UTF-16 unit of a base64 run. */
static int run_unit(struct run *run, uint32_t unit, struct buf *ret) {
    if (run->high) {
        if (unit < 0xdc00 || unit > 0xdfff)
            return mutf7_bad();
        uint32_t c = 0x10000 + ((run->high - 0xd800) << 10) + (unit - 0xdc00);
        run->high = 0;
        return utf8_put(ret, c);
    }
    if (unit >= 0xd800 && unit <= 0xdbff) {
        run->high = unit;
        return 0;
    }
    if ((unit >= 0xdc00 && unit <= 0xdfff) || (unit >= 0x20 && unit <= 0x7e))
        return mutf7_bad();
    return utf8_put(ret, unit);
}

/* Decodes the run behind '&' up to '-', which *i is left at. */
static int mutf7_run(const char *name, size_t n, size_t *i, struct buf *ret) {
    struct run run = {0};
    for (; *i < n && name[*i] != '-'; ++*i) {
        const char *at = name[*i] ? strchr(alphabet, name[*i]) : NULL;
        if (!at)
            return mutf7_bad();
        run.bits = run.bits << 6 | (uint32_t)(at - alphabet);
        run.count += 6;
        if (run.count >= 16) {
            run.count -= 16;
            int r = run_unit(&run, run.bits >> run.count & 0xffff, ret);
            if (r < 0)
                return r;
            run.bits &= (1U << run.count) - 1;
        }
    }
    return *i == n || run.high || run.bits || run.count >= 6 ? mutf7_bad() : 0;
}

int mutf7_decode(const char *name, size_t n, struct buf *ret) {
    size_t before = ret->len;
    int r = 0;
    bool after_run = false;
    for (size_t i = 0; i < n && r == 0; i++) {
        char c = name[i];
        if (c < 0x20 || c > 0x7e || (c == '&' && after_run && (i + 1 == n || name[i + 1] != '-'))) {
            r = mutf7_bad();
        } else if (c != '&') {
            r = buf_add(ret, &c, 1);
            after_run = false;
        } else if (i + 1 < n && name[i + 1] == '-') {
            r = buf_add(ret, "&", 1);
            after_run = false;
            i++;
        } else {
            i++;
            r = mutf7_run(name, n, &i, ret);
            after_run = true;
        }
    }
    if (r < 0 && ret->len > before) {
        ret->len = before;
        ret->data[before] = '\0';
    }
    return r;
}

/* The next code point of UTF-8, or -1 for an overlong, broken, surrogate or too large one. */
static int32_t utf8_take(const unsigned char *s, size_t n, size_t *i) {
    unsigned char c = s[(*i)++];
    if (c < 0x80)
        return c;
    int more = c >= 0xf0 && c <= 0xf4 ? 3 : c >= 0xe0 && c < 0xf0 ? 2 : c >= 0xc2 && c < 0xe0 ? 1 : 0;
    if (more == 0)
        return -1;
    static const int32_t least[] = {0, 0x80, 0x800, 0x10000};
    int32_t value = c & (0x3f >> more);
    for (int k = 0; k < more; k++, ++*i) {
        if (*i >= n || (s[*i] & 0xc0) != 0x80)
            return -1;
        value = value << 6 | (s[*i] & 0x3f);
    }
    return value < least[more] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff) ? -1 : value;
}

struct encoder {
    struct buf *ret;
    uint32_t bits;
    int count;
    bool open;
};

static int encode_unit(struct encoder *e, uint32_t unit) {
    int r = 0;
    e->bits = e->bits << 16 | unit;
    e->count += 16;
    while (r == 0 && e->count >= 6) {
        e->count -= 6;
        r = buf_add(e->ret, &alphabet[e->bits >> e->count & 0x3f], 1);
    }
    e->bits &= (1U << e->count) - 1;
    return r;
}

static int encode_close(struct encoder *e) {
    int r = 0;
    if (!e->open)
        return 0;
    if (e->count > 0 && e->count < 6)
        r = buf_add(e->ret, &alphabet[e->bits << (6 - e->count) & 0x3f], 1);
    *e = (struct encoder){.ret = e->ret};
    return r < 0 ? r : buf_add(e->ret, "-", 1);
}

static int encode_wide(struct encoder *e, uint32_t c) {
    int r = e->open ? 0 : buf_add(e->ret, "&", 1);
    e->open = true;
    if (r == 0 && c >= 0x10000) {
        r = encode_unit(e, 0xd800 + ((c - 0x10000) >> 10));
        c = 0xdc00 + ((c - 0x10000) & 0x3ff);
    }
    return r < 0 ? r : encode_unit(e, c);
}

int mutf7_encode(const char *text, size_t n, struct buf *ret) {
    struct encoder e = {.ret = ret};
    int r = 0;
    for (size_t i = 0; i < n && r == 0;) {
        int32_t c = utf8_take((const unsigned char *)text, n, &i);
        if (c < 0)
            return err_set(ERR_INVALID, "a mailbox name is not in UTF-8");
        if (c < 0x20 || c > 0x7e) {
            r = encode_wide(&e, (uint32_t)c);
            continue;
        }
        char plain = (char)c;
        r = encode_close(&e);
        if (r == 0)
            r = plain == '&' ? buf_add(ret, "&-", 2) : buf_add(ret, &plain, 1);
    }
    return r < 0 ? r : encode_close(&e);
}
