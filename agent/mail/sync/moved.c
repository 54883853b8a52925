#include "agent/mail/sync/moved.h"
#include "agent/mail/imap/uidset.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define HEADER_MAX 65536  /* bytes read of a file to find its Message-ID */
#define FOREIGN_MAX 20000 /* files of readers that are looked at; with more, every removal is held back */
#define DEPTH_MAX 40
#define SET_MAX 4000
#define ID "Message-ID:"

/* What readers have put into the Maildir. */
struct foreign {
    const struct sync_folder *folder;
    const uint32_t *uids;
    size_t n_uids;
    bool *held;
    uint64_t *ids; /* owned: hashes of Message-IDs; a collision only holds one message back */
    size_t n, allocated;
    size_t unreadable; /* files without a Message-ID, which may be anything */
};

static void foreign_cleanup(struct foreign *x) {
    free(x->ids);
}

static void dir_cleanup(DIR **d) {
    if (*d)
        (void)closedir(*d);
}

/* Hash of the Message-ID in a header, 0: none. White space around and inside does not count. */
static uint64_t message_id(const char *text, size_t n) {
    for (const char *line = text, *end = text + n; line < end;) {
        const char *next = memchr(line, '\n', (size_t)(end - line));
        if (*line == '\r' || *line == '\n')
            return 0;
        if ((size_t)(end - line) > sizeof ID && strncasecmp(line, ID, sizeof ID - 1) == 0) {
            uint64_t hash = 14695981039346656037U; /* FNV-1a */
            const char *c = line + sizeof ID - 1;
            for (; c < end && *c != '>'; c++)
                if (!isspace((unsigned char)*c))
                    hash = (hash ^ (unsigned char)*c) * 1099511628211U;
            return hash;
        }
        if (!next)
            return 0;
        line = next + 1;
    }
    return 0;
}

static int foreign_add(struct foreign *x, uint64_t id) {
    if (id == 0) {
        x->unreadable++;
        return 0;
    }
    if (x->n == x->allocated) {
        size_t more = x->allocated ? x->allocated * 2 : 64;
        uint64_t *grown = reallocarray(x->ids, more, sizeof *grown);
        if (!grown)
            return err_set(ERR_SYSTEM, "out of memory");
        x->ids = grown;
        x->allocated = more;
    }
    x->ids[x->n++] = id;
    return 0;
}

/* One of our files that lies in another folder. true: it needs no look inside. */
static bool foreign_ours(struct foreign *x, const char *directory, const char *name) {
    struct name_message m;
    const char *suffix = NULL;
    if (!name_parse(name, &m, &suffix))
        return false;
    if (m.hash != x->folder->hash || m.uidvalidity != x->folder->row.uidvalidity)
        return true; /* of another mailbox; where it is moved, that mailbox's pass holds it */
    bool home = strcmp(directory, x->folder->directory) == 0;
    for (size_t i = 0; i < x->n_uids && !home; i++)
        if (x->uids[i] == m.uid)
            x->held[i] = true;
    return true;
}

static int foreign_file(struct foreign *x, int dir, const char *directory, const char *name) {
    if (foreign_ours(x, directory, name))
        return 0;
    if (x->n + x->unreadable >= FOREIGN_MAX)
        return 0;
    cleanup(fd) int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    cleanup(free) char *head = malloc(HEADER_MAX);
    if (!head)
        return err_set(ERR_SYSTEM, "out of memory");
    ssize_t n = fd < 0 ? -1 : read(fd, head, HEADER_MAX);
    return foreign_add(x, n > 0 ? message_id(head, (size_t)n) : 0);
}

static DIR *open_dir(int parent, const char *name) {
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (fd >= 0 && !d)
        (void)close(fd);
    return d;
}

static int foreign_files(struct foreign *x, int folder, const char *sub, const char *directory) {
    cleanup(dir) DIR *d = open_dir(folder, sub);
    int r = 0;
    for (struct dirent *e; d && r == 0 && (e = readdir(d));)
        if (e->d_name[0] != '.' && e->d_type != DT_DIR)
            r = foreign_file(x, dirfd(d), directory, e->d_name);
    return r;
}

/* Walks the folders below `parent`/`name`, also those that the server does not know. */
static int foreign_walk(struct foreign *x, int parent, const char *name, struct buf *path, int depth) {
    cleanup(dir) DIR *d = open_dir(parent, name);
    if (!d || depth > DEPTH_MAX)
        return 0;
    int r = foreign_files(x, dirfd(d), "new", path->len ? path->data : "");
    if (r == 0)
        r = foreign_files(x, dirfd(d), "cur", path->len ? path->data : "");
    for (struct dirent *e; r == 0 && (e = readdir(d));) {
        size_t before = path->len;
        if (e->d_name[0] == '.' || strcmp(e->d_name, "cur") == 0 || strcmp(e->d_name, "new") == 0 ||
            strcmp(e->d_name, "tmp") == 0)
            continue;
        r = buf_printf(path, "%s%s", before ? "/" : "", e->d_name);
        if (r == 0)
            r = foreign_walk(x, dirfd(d), e->d_name, path, depth + 1);
        path->len = before;
        if (path->data)
            path->data[before] = '\0';
    }
    return r;
}

static bool foreign_has(const struct foreign *x, uint64_t id) {
    for (size_t i = 0; i < x->n; i++)
        if (x->ids[i] == id)
            return true;
    return false;
}

/* Asks the server for the Message-IDs of the removed messages; one that it does not tell counts as moved. */
static int foreign_compare(struct sync *s, struct foreign *x) {
    cleanup(free) bool *told = calloc(x->n_uids, sizeof *told);
    if (!told)
        return err_set(ERR_SYSTEM, "out of memory");
    for (size_t at = 0, used = 0; at < x->n_uids; at += used) {
        cleanup(buf) struct buf set = {0};
        int r = uidset_write(x->uids + at, x->n_uids - at, SET_MAX, &set, &used);
        if (r == 0)
            r = imap_send(s->imap, "UID FETCH %s (UID BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])", set.data);
        while (r >= 0 && (r = imap_next(s->imap, -1)) > 0 && r != IMAP_NEXT_DONE) {
            const struct imap_parser *p = &s->imap->parser;
            uint64_t number = 0;
            const struct imap_node *uid = NULL, *body = NULL;
            if (r != IMAP_NEXT_UNTAGGED || !imap_is_numbered(p, "FETCH", &number) ||
                !(uid = imap_attribute(p, 2, "UID")) || !imap_node_number(p, uid, &number) ||
                !(body = imap_attribute(p, 2, "BODY[HEADER.FIELDS (MESSAGE-ID)]")) ||
                body->type != IMAP_STRING)
                continue;
            for (size_t i = 0; i < x->n_uids; i++) {
                if (x->uids[i] != number)
                    continue;
                uint64_t id = message_id(imap_node_text(p, body), body->len);
                told[i] = true;
                x->held[i] = x->held[i] || foreign_has(x, id) || (id == 0 && x->unreadable > 0);
            }
        }
        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < x->n_uids; i++)
        x->held[i] = x->held[i] || !told[i];
    return 0;
}

int moved_find(struct sync *s, const struct sync_folder *f, const uint32_t *uids, size_t n, bool *held) {
    cleanup(foreign) struct foreign x = {.folder = f, .uids = uids, .n_uids = n, .held = held};
    cleanup(buf) struct buf path = {0};
    int r = foreign_walk(&x, s->store.root, ".", &path, 0);
    if (r < 0 || x.n + x.unreadable == 0)
        return r;
    if (x.n + x.unreadable >= FOREIGN_MAX) {
        memset(held, true, n);
        return 0;
    }
    return foreign_compare(s, &x);
}
