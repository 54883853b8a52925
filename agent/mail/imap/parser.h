/*
 * The IMAP response parser (RFC 3501 section 9, RFC 9051): bytes in, events out. It does no input or output,
 * knows no command and interprets no response; the caller reads the tokens of a finished line through
 * `nodes`.
 *
 * Use: imap_parser_init(), then imap_parser_feed() with whatever arrived, again and again with what is left
 * of it. What an event refers to stays valid until the next feed. One thread. An error is final: the
 * connection cannot be brought back into step.
 *
 * A literal up to IMAP_INLINE_MAX bytes becomes a node like a quoted string. A longer one is announced
 * (IMAP_EVENT_LITERAL, while the nodes before it are already readable) and handed out in pieces
 * (IMAP_EVENT_DATA), so that a message of any size passes in constant memory.
 */
#ifndef SATCHEL_AGENT_MAIL_IMAP_PARSER_H
#define SATCHEL_AGENT_MAIL_IMAP_PARSER_H

#include "platform/base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IMAP_INLINE_MAX ((size_t)64 << 10)   /* bytes of a literal that is kept as a node */
#define IMAP_LITERAL_MAX ((uint64_t)1 << 40) /* bytes of any literal */
#define IMAP_LINE_MAX ((size_t)4 << 20) /* bytes of a line without its literals: SEARCH of half a million */
#define IMAP_TEXT_MAX ((size_t)8 << 20) /* bytes of all strings of one response */
#define IMAP_NODES_MAX (1 << 19)        /* tokens of one response */
#define IMAP_DEPTH_MAX 32               /* nested lists */
#define IMAP_TAG_MAX 64

enum imap_node_type {
    IMAP_ATOM,
    IMAP_STRING, /* quoted, or a literal */
    IMAP_NIL,
    IMAP_LIST,
    IMAP_CODE,   /* the bracketed code of a status response, a list */
    IMAP_STREAM, /* a literal that went out as IMAP_EVENT_DATA */
};

/* Nodes lie in the order of the line; the children of a list follow it. */
struct imap_node {
    enum imap_node_type type;
    uint32_t end;    /* index of the first node behind this one and all below it */
    uint32_t offset; /* of the text in imap_parser.text */
    uint32_t len;
};

enum imap_line { IMAP_LINE_UNTAGGED, IMAP_LINE_CONTINUE, IMAP_LINE_TAGGED };

enum imap_parser_event {
    IMAP_EVENT_MORE = 0, /* all bytes are used, nothing is finished */
    IMAP_EVENT_RESPONSE, /* a whole line is in `line`, `tag`, `nodes`, `info` */
    IMAP_EVENT_LITERAL,  /* a long literal of `literal_left` bytes begins; its node is the last one */
    IMAP_EVENT_DATA,     /* `chunk` is the next piece of it; the last one when `literal_left` is 0 */
};

struct imap_parser {
    enum imap_line line;
    char tag[IMAP_TAG_MAX + 1]; /* of a tagged line */
    struct imap_node *nodes;    /* owned */
    uint32_t count;
    struct buf text;
    uint32_t info_offset; /* the human-readable rest of a status or continuation line, in `text` */
    uint32_t info_len;
    uint64_t literal_left;
    const char *chunk; /* borrowed from the bytes that were fed */
    size_t chunk_len;

    /* private */
    int state;
    uint32_t allocated;
    uint32_t open[IMAP_DEPTH_MAX]; /* indexes of the lists not yet closed */
    int depth;
    int code_depth; /* depth inside the code's brackets, 0 outside */
    size_t line_bytes;
    size_t tag_len;
    int digits;
    bool bracket; /* inside BODY[...] */
    bool finished;
};

void imap_parser_init(struct imap_parser *p);
void imap_parser_finish(struct imap_parser *p);

/*
 * Takes bytes up to the next event. *ret_used says how many; the caller comes again with the others. Returns
 * an imap_parser_event, ERR_PROTOCOL for what is no IMAP, ERR_TOO_LARGE over a cap, ERR_SYSTEM without
 * memory.
 */
int imap_parser_feed(struct imap_parser *p, const char *data, size_t n, size_t *ret_used);

/* The text of a node: `len` bytes, not terminated. Never NULL. */
const char *imap_node_text(const struct imap_parser *p, const struct imap_node *node);

/* Whether the node is an atom or string equal to `word`, ignoring ASCII case. */
bool imap_node_is(const struct imap_parser *p, const struct imap_node *node, const char *word);

/* The number in a node: decimal digits, at most 2^63-1. false for anything else. */
bool imap_node_number(const struct imap_parser *p, const struct imap_node *node, uint64_t *ret);

/* The node with that index, or NULL when `index` is not below `end`. For walking: the children of a list are
 * [index + 1, node->end), the next sibling of a node is node->end. */
const struct imap_node *imap_node_at(const struct imap_parser *p, uint32_t index, uint32_t end);

#endif
