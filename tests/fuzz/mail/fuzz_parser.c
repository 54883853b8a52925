/*
 * The parser must make the same of bytes however they are cut. The first byte is the size of the pieces of
 * the second run. Prototype of libFuzzer's entry: its header comes with no package.
 */
#include "agent/mail/imap/session.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct result {
    int end; /* 0, or the error */
    uint64_t responses, nodes, streamed;
    uint64_t hash;
};

static void mix(struct result *r, const char *data, size_t n) {
    for (size_t i = 0; i < n; i++)
        r->hash = (r->hash ^ (uint8_t)data[i]) * 1099511628211U;
}

/* Walks a response in every way that the engine does. */
static void look(struct result *r, const struct imap_parser *p) {
    uint64_t number = 0;
    r->responses++;
    r->nodes += p->count;
    if (p->info_offset + (size_t)p->info_len > p->text.len)
        abort();
    for (uint32_t i = 0; i < p->count; i++) {
        const struct imap_node *node = &p->nodes[i];
        if (node->end <= i || node->end > p->count || node->offset + (size_t)node->len > p->text.len)
            abort();
        mix(r, imap_node_text(p, node), node->len);
        mix(r, (const char *)&node->type, sizeof node->type);
        (void)imap_node_number(p, node, &number);
        (void)imap_flags(p, node);
        (void)imap_attribute(p, i, "UID");
    }
    if (p->count)
        (void)imap_is_numbered(p, "FETCH", &number);
}

static struct result run(const char *data, size_t n, size_t step) {
    struct result r = {.hash = 14695981039346656037U};
    struct imap_parser p;
    imap_parser_init(&p);
    for (size_t at = 0; at < n && r.end == 0;) {
        size_t used = 0, piece = n - at < step ? n - at : step;
        int event = imap_parser_feed(&p, data + at, piece, &used);
        if (used > piece || (used == 0 && event == IMAP_EVENT_MORE))
            abort();
        at += used;
        if (event < 0)
            r.end = event;
        else if (event == IMAP_EVENT_RESPONSE)
            look(&r, &p);
        else if (event == IMAP_EVENT_DATA) {
            r.streamed += p.chunk_len;
            mix(&r, p.chunk, p.chunk_len);
        }
    }
    imap_parser_finish(&p);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    if (n < 2)
        return 0;
    const char *text = (const char *)data + 1;
    struct result whole = run(text, n - 1, n), pieces = run(text, n - 1, (size_t)data[0] % 16 + 1);
    if (memcmp(&whole, &pieces, sizeof whole) != 0)
        abort();
    return 0;
}
