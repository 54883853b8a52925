#include "agent/mail/imap/parser.h"
#include "platform/base/err.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define KEEP_NODES 8192
#define KEEP_TEXT ((size_t)256 << 10)

enum {
    STATE_TAG,
    STATE_TOKEN,
    STATE_ATOM,
    STATE_QUOTED,
    STATE_ESCAPE,
    STATE_LITERAL_HEAD,
    STATE_LITERAL_CR,
    STATE_LITERAL_LF,
    STATE_INLINE,
    STATE_STREAM,
    STATE_STATUS, /* behind OK, NO, BAD, BYE, PREAUTH: a code may follow */
    STATE_TEXT,
    STATE_LF,
};

void imap_parser_init(struct imap_parser *p) {
    *p = (struct imap_parser){.finished = true};
    buf_init(&p->text, IMAP_TEXT_MAX + IMAP_INLINE_MAX, false);
}

void imap_parser_finish(struct imap_parser *p) {
    free(p->nodes);
    buf_finish(&p->text);
    *p = (struct imap_parser){0};
}

/* The memory of an uncommonly long line is given back. */
static void parser_shrink(struct imap_parser *p) {
    if (p->allocated > KEEP_NODES) {
        free(p->nodes);
        p->nodes = NULL;
        p->allocated = 0;
    }
    if (p->text.cap > KEEP_TEXT)
        buf_finish(&p->text);
}

static void parser_reset(struct imap_parser *p) {
    parser_shrink(p);
    buf_clear(&p->text);
    p->count = 0;
    p->info_offset = p->info_len = 0;
    p->state = STATE_TAG;
    p->depth = p->code_depth = 0;
    p->line_bytes = p->tag_len = 0;
    p->bracket = false;
    p->finished = false;
    p->tag[0] = '\0';
}

static int parser_add_node(struct imap_parser *p, enum imap_node_type type) {
    if (p->count >= IMAP_NODES_MAX)
        return err_set(ERR_TOO_LARGE, "the mail server sent a line of more than %d words", IMAP_NODES_MAX);
    if (p->count == p->allocated) {
        uint32_t more = p->allocated ? p->allocated * 2 : 64;
        struct imap_node *grown = reallocarray(p->nodes, more, sizeof *grown);
        if (!grown)
            return err_set(ERR_SYSTEM, "out of memory");
        p->nodes = grown;
        p->allocated = more;
    }
    p->nodes[p->count] =
        (struct imap_node){.type = type, .end = p->count + 1, .offset = (uint32_t)p->text.len};
    p->count++;
    return 0;
}

static int parser_add_text(struct imap_parser *p, const char *data, size_t n) {
    if (p->text.len + n > IMAP_TEXT_MAX)
        return err_set(ERR_TOO_LARGE, "the mail server sent a line of more than %zu bytes", IMAP_TEXT_MAX);
    return buf_add(&p->text, data, n);
}

static struct imap_node *parser_last(struct imap_parser *p) {
    return &p->nodes[p->count - 1];
}

static void parser_close_text(struct imap_parser *p) {
    struct imap_node *node = parser_last(p);
    node->len = (uint32_t)p->text.len - node->offset;
}

static int parser_open_list(struct imap_parser *p, enum imap_node_type type) {
    if (p->depth >= IMAP_DEPTH_MAX)
        return err_set(ERR_TOO_LARGE, "the mail server sent lists nested deeper than %d", IMAP_DEPTH_MAX);
    int r = parser_add_node(p, type);
    if (r < 0)
        return r;
    p->open[p->depth++] = p->count - 1;
    p->state = STATE_TOKEN;
    return 0;
}

static int parser_close_list(struct imap_parser *p) {
    if (p->depth <= p->code_depth)
        return err_set(ERR_PROTOCOL, "the mail server closed a list that it did not open");
    p->nodes[p->open[--p->depth]].end = p->count;
    return 0;
}

static void parser_close_code(struct imap_parser *p) {
    p->nodes[p->open[--p->depth]].end = p->count;
    p->code_depth = 0;
    p->info_offset = (uint32_t)p->text.len;
    p->state = STATE_TEXT;
}

static int parser_end_line(struct imap_parser *p) {
    if (p->depth != 0)
        return err_set(ERR_PROTOCOL, "the mail server ended a line inside a list");
    if (p->line == IMAP_LINE_CONTINUE || p->state == STATE_TEXT)
        p->info_len = (uint32_t)p->text.len - p->info_offset;
    else if (p->count == 0)
        return err_set(ERR_PROTOCOL, "the mail server sent an empty line");
    p->finished = true;
    return IMAP_EVENT_RESPONSE;
}

/* The end of the tag: "*", "+", or the tag of a command. */
static int parser_end_tag(struct imap_parser *p, char c) {
    p->tag[p->tag_len] = '\0';
    if (p->tag_len == 0)
        return err_set(ERR_PROTOCOL, "the mail server sent a line that is no IMAP");
    p->line = strcmp(p->tag, "*") == 0   ? IMAP_LINE_UNTAGGED
              : strcmp(p->tag, "+") == 0 ? IMAP_LINE_CONTINUE
                                         : IMAP_LINE_TAGGED;
    p->state = p->line == IMAP_LINE_CONTINUE ? STATE_TEXT : STATE_TOKEN;
    if (c == '\r')
        p->state = STATE_LF;
    return c == '\n' ? parser_end_line(p) : 0;
}

static int parser_in_tag(struct imap_parser *p, char c) {
    if (c == ' ' || c == '\r' || c == '\n')
        return parser_end_tag(p, c);
    if (c <= ' ' || c == 0x7f || p->tag_len == IMAP_TAG_MAX)
        return err_set(ERR_PROTOCOL, "the mail server sent a line that is no IMAP");
    p->tag[p->tag_len++] = c;
    return 0;
}

static bool parser_is_status(const struct imap_parser *p) {
    static const char *const words[] = {"OK", "NO", "BAD", "BYE", "PREAUTH"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (imap_node_is(p, &p->nodes[0], words[i]))
            return true;
    return false;
}

/* The end of an atom; the byte behind it has still to be looked at. */
static void parser_end_atom(struct imap_parser *p) {
    parser_close_text(p);
    struct imap_node *node = parser_last(p);
    if (imap_node_is(p, node, "NIL"))
        node->type = IMAP_NIL;
    p->state = STATE_TOKEN;
    if (p->count == 1 && p->depth == 0 && parser_is_status(p))
        p->state = STATE_STATUS;
}

static int parser_in_token(struct imap_parser *p, char c) {
    switch (c) {
    case ' ':
        return 0;
    case '(':
        return parser_open_list(p, IMAP_LIST);
    case ')':
        return parser_close_list(p);
    case '"':
        p->state = STATE_QUOTED;
        return parser_add_node(p, IMAP_STRING);
    case '{':
        p->state = STATE_LITERAL_HEAD;
        p->literal_left = 0;
        p->digits = 0;
        return 0;
    case '\r':
        p->state = STATE_LF;
        return 0;
    case '\n':
        return parser_end_line(p);
    case '\0':
        return err_set(ERR_PROTOCOL, "the mail server sent a NUL in a line");
    default:
        break;
    }
    if (c == ']' && p->code_depth && p->depth == p->code_depth) {
        parser_close_code(p);
        return 0;
    }
    int r = parser_add_node(p, IMAP_ATOM);
    p->state = STATE_ATOM;
    p->bracket = false;
    return r < 0 ? r : parser_add_text(p, &c, 1);
}

static bool atom_takes_bracket(const struct imap_parser *p) {
    const struct imap_node *node = &p->nodes[p->count - 1];
    size_t have = p->text.len - node->offset;
    return (have >= 4 && strncasecmp(p->text.data + node->offset, "BODY", 4) == 0) ||
           (have >= 6 && strncasecmp(p->text.data + node->offset, "BINARY", 6) == 0);
}

/* Takes the run of an atom's bytes. 1: the atom ended before data[*used]. */
static int parser_in_atom(struct imap_parser *p, const char *data, size_t n, size_t *used) {
    size_t i = 0;
    for (; i < n; i++) {
        char c = data[i];
        if (c == '\0')
            return err_set(ERR_PROTOCOL, "the mail server sent a NUL in a line");
        if (p->bracket) {
            if (c == '\r' || c == '\n')
                return err_set(ERR_PROTOCOL, "the mail server ended a line inside brackets");
            p->bracket = c != ']';
        } else if (c == '[' && !p->code_depth) {
            int r = parser_add_text(p, data, i);
            if (r < 0)
                return r;
            data += i;
            n -= i;
            *used += i;
            i = 0;
            p->bracket = atom_takes_bracket(p);
        } else if (strchr(" ()\r\n", c) || (c == ']' && p->code_depth)) {
            break;
        }
    }
    int r = parser_add_text(p, data, i);
    *used += i;
    if (r == 0 && i < n) {
        parser_end_atom(p);
        r = 1;
    }
    return r;
}

static int parser_in_quoted(struct imap_parser *p, const char *data, size_t n, size_t *used) {
    size_t i = 0;
    while (i < n && data[i] != '"' && data[i] != '\\' && data[i] != '\r' && data[i] != '\n' &&
           data[i] != '\0')
        i++;
    int r = parser_add_text(p, data, i);
    *used += i;
    if (r < 0 || i == n)
        return r;
    ++*used;
    if (data[i] == '"') {
        parser_close_text(p);
        p->state = STATE_TOKEN;
        return 0;
    }
    if (data[i] != '\\')
        return err_set(ERR_PROTOCOL, "the mail server did not close a quoted string");
    p->state = STATE_ESCAPE;
    return 0;
}

static int parser_in_literal_head(struct imap_parser *p, char c) {
    if (c >= '0' && c <= '9' && p->digits < 18) {
        p->digits++;
        p->literal_left = p->literal_left * 10 + (uint64_t)(c - '0');
        return 0;
    }
    if (c == '+' && p->digits > 0)
        return 0;
    if (c != '}' || p->digits == 0)
        return err_set(ERR_PROTOCOL, "the mail server sent a literal without a usable length");
    if (p->literal_left > IMAP_LITERAL_MAX)
        return err_set(ERR_TOO_LARGE, "the mail server announced a literal of %llu bytes",
                       (unsigned long long)p->literal_left);
    p->state = STATE_LITERAL_CR;
    return 0;
}

static int parser_begin_literal(struct imap_parser *p) {
    bool stream = p->literal_left > IMAP_INLINE_MAX;
    int r = parser_add_node(p, stream ? IMAP_STREAM : IMAP_STRING);
    if (r < 0)
        return r;
    if (stream) {
        p->state = STATE_STREAM;
        return IMAP_EVENT_LITERAL;
    }
    p->state = p->literal_left ? STATE_INLINE : STATE_TOKEN;
    return 0;
}

static int parser_in_inline(struct imap_parser *p, const char *data, size_t n, size_t *used) {
    size_t take = n < p->literal_left ? n : (size_t)p->literal_left;
    int r = parser_add_text(p, data, take);
    if (r < 0)
        return r;
    *used += take;
    p->literal_left -= take;
    if (p->literal_left == 0) {
        parser_close_text(p);
        p->state = STATE_TOKEN;
    }
    return 0;
}

static int parser_in_stream(struct imap_parser *p, const char *data, size_t n, size_t *used) {
    size_t take = n < p->literal_left ? n : (size_t)p->literal_left;
    p->chunk = data;
    p->chunk_len = take;
    p->literal_left -= take;
    *used += take;
    if (p->literal_left == 0)
        p->state = STATE_TOKEN;
    return IMAP_EVENT_DATA;
}

static int parser_in_text(struct imap_parser *p, const char *data, size_t n, size_t *used) {
    size_t i = 0;
    while (i < n && data[i] != '\n')
        i++;
    int r = parser_add_text(p, data, i);
    *used += i;
    if (r < 0 || i == n)
        return r;
    ++*used;
    while (p->text.len > p->info_offset && p->text.data[p->text.len - 1] == '\r')
        p->text.data[--p->text.len] = '\0';
    return parser_end_line(p);
}

static int parser_in_status(struct imap_parser *p, char c) {
    p->info_offset = (uint32_t)p->text.len;
    if (c == ' ')
        return 0;
    if (c == '[') {
        int r = parser_open_list(p, IMAP_CODE);
        p->code_depth = p->depth;
        return r;
    }
    p->state = STATE_TEXT;
    if (c == '\n')
        return parser_end_line(p);
    return parser_add_text(p, &c, 1);
}

/* The states that look at one byte. */
static int parser_byte(struct imap_parser *p, char c) {
    switch (p->state) {
    case STATE_TAG:
        return parser_in_tag(p, c);
    case STATE_TOKEN:
        return parser_in_token(p, c);
    case STATE_ESCAPE:
        if (c == '\0' || c == '\r' || c == '\n')
            return err_set(ERR_PROTOCOL, "the mail server did not close a quoted string");
        p->state = STATE_QUOTED;
        return parser_add_text(p, &c, 1);
    case STATE_LITERAL_HEAD:
        return parser_in_literal_head(p, c);
    case STATE_LITERAL_CR:
        if (c == '\r') {
            p->state = STATE_LITERAL_LF;
            return 0;
        }
        __attribute__((fallthrough));
    case STATE_LITERAL_LF:
        if (c != '\n')
            return err_set(ERR_PROTOCOL, "the mail server sent a literal without a line break before it");
        return parser_begin_literal(p);
    case STATE_STATUS:
        return parser_in_status(p, c);
    default: /* STATE_LF */
        if (c != '\n')
            return err_set(ERR_PROTOCOL, "the mail server sent a lone carriage return");
        return parser_end_line(p);
    }
}

static int parser_step(struct imap_parser *p, const char *data, size_t n, size_t *used) {
    switch (p->state) {
    case STATE_ATOM: {
        int r = parser_in_atom(p, data, n, used);
        return r == 1 ? 0 : r;
    }
    case STATE_QUOTED:
        return parser_in_quoted(p, data, n, used);
    case STATE_INLINE:
        return parser_in_inline(p, data, n, used);
    case STATE_TEXT:
        return parser_in_text(p, data, n, used);
    default:
        ++*used;
        return parser_byte(p, data[0]);
    }
}

int imap_parser_feed(struct imap_parser *p, const char *data, size_t n, size_t *ret_used) {
    size_t used = 0;
    int r = IMAP_EVENT_MORE;
    if (p->finished && n > 0)
        parser_reset(p);
    while (r == 0 && used < n) {
        if (p->state == STATE_STREAM) {
            r = parser_in_stream(p, data + used, n - used, &used);
            break;
        }
        size_t before = used;
        bool literal = p->state == STATE_INLINE;
        size_t took = 0;
        r = parser_step(p, data + used, n - used, &took);
        used = before + took;
        if (!literal)
            p->line_bytes += took;
        if (r >= 0 && p->line_bytes > IMAP_LINE_MAX)
            r = err_set(ERR_TOO_LARGE, "the mail server sent a line of more than %zu bytes", IMAP_LINE_MAX);
    }
    *ret_used = used;
    return r;
}

const char *imap_node_text(const struct imap_parser *p, const struct imap_node *node) {
    return node->len ? p->text.data + node->offset : "";
}

bool imap_node_is(const struct imap_parser *p, const struct imap_node *node, const char *word) {
    size_t n = strlen(word);
    return (node->type == IMAP_ATOM || node->type == IMAP_STRING || node->type == IMAP_NIL) &&
           node->len == n && strncasecmp(imap_node_text(p, node), word, n) == 0;
}

bool imap_node_number(const struct imap_parser *p, const struct imap_node *node, uint64_t *ret) {
    if ((node->type != IMAP_ATOM && node->type != IMAP_STRING) || node->len == 0 || node->len > 19)
        return false;
    const char *text = imap_node_text(p, node);
    uint64_t value = 0;
    for (uint32_t i = 0; i < node->len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(text[i] - '0');
    }
    if (value > INT64_MAX)
        return false;
    *ret = value;
    return true;
}

const struct imap_node *imap_node_at(const struct imap_parser *p, uint32_t index, uint32_t end) {
    return index < end && index < p->count ? &p->nodes[index] : NULL;
}
