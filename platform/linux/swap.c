#include "platform/linux/swap.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define SWAP_DEPTH 8 /* of devices on devices */

static bool is_octal(char c) {
    return c >= '0' && c <= '7';
}

/* "Filename Type Size Used Priority": the kernel writes blanks in the name as \040. */
bool swap_next(const char **text, char *name, size_t size) {
    const char *p = *text;
    while (*p && *p != '/') {
        const char *newline = strchr(p, '\n');
        p = newline ? newline + 1 : p + strlen(p);
    }
    size_t n = 0;
    while (*p && !strchr(" \t\n", *p)) {
        bool escaped = p[0] == '\\' && is_octal(p[1]) && is_octal(p[2]) && is_octal(p[3]);
        char c = escaped ? (char)(((p[1] - '0') << 6) | ((p[2] - '0') << 3) | (p[3] - '0')) : *p;
        if (n + 1 < size)
            name[n++] = c;
        p += escaped ? 4 : 1;
    }
    name[n] = '\0';
    const char *newline = strchr(p, '\n');
    *text = newline ? newline + 1 : p + strlen(p);
    return n > 0;
}

static void stream_dir_cleanup(DIR **d) {
    if (*d)
        (void)closedir(*d);
}

static bool is_crypt(const char *sys, const char *name) {
    char path[PATH_MAX];
    cleanup(buf) struct buf uuid = {.max = 4096};
    (void)snprintf(path, sizeof path, "%s/%s/dm/uuid", sys, name);
    return file_read(AT_FDCWD, path, 4096, &uuid) == 0 && strncmp(uuid.data, "CRYPT-", 6) == 0;
}

/* All of what it lies on must be. */
static bool is_encrypted(const char *sys, const char *name, int depth) {
    if (is_crypt(sys, name) || strncmp(name, "zram", 4) == 0)
        return true;
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/%s/slaves", sys, name);
    cleanup(stream_dir) DIR *slaves = opendir(path);
    bool any = false;
    struct dirent *entry;
    while (slaves && (entry = readdir(slaves))) {
        if (entry->d_name[0] == '.')
            continue;
        any = true;
        if (depth == 0 || !is_encrypted(sys, entry->d_name, depth - 1))
            return false;
    }
    return any;
}

bool swap_is_encrypted(const char *sys, const char *name) {
    return is_encrypted(sys, name, SWAP_DEPTH);
}

/* The block device that a swap area is, or lies on. */
static bool block_name(const char *area, char *name, size_t size) {
    struct stat st;
    char link[64], target[PATH_MAX];
    if (stat(area, &st) < 0)
        return false;
    dev_t device = S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev;
    (void)snprintf(link, sizeof link, "/sys/dev/block/%u:%u", major(device), minor(device));
    ssize_t n = readlink(link, target, sizeof target - 1);
    if (n <= 0)
        return false;
    target[n] = '\0';
    const char *slash = strrchr(target, '/');
    return (size_t)snprintf(name, size, "%s", slash ? slash + 1 : target) < size;
}

int swap_look(struct swaps *ret) {
    cleanup(buf) struct buf text = {0};
    struct swaps found = {.n = 0};
    int r = file_read(AT_FDCWD, "/proc/swaps", 65536, &text);
    if (r == ERR_NOT_FOUND) {
        *ret = found; /* a kernel without swapping */
        return 0;
    }
    if (r < 0)
        return r;
    const char *p = text.data ? text.data : "";
    while (found.n < SWAP_MAX && swap_next(&p, found.list[found.n].name, sizeof found.list[0].name)) {
        struct swap *one = &found.list[found.n++];
        char name[NAME_MAX + 1];
        one->encrypted =
            block_name(one->name, name, sizeof name) && swap_is_encrypted("/sys/class/block", name);
    }
    *ret = found;
    return 0;
}
