#include "platform/linux/fscrypt.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fscrypt.h>
#include <string.h>
#include <sys/ioctl.h>

bool fscrypt_same(const struct fscrypt_id *a, const struct fscrypt_id *b) {
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

int fscrypt_look(int fd, struct fscrypt_id *ret) {
    struct fscrypt_get_policy_ex_arg arg = {.policy_size = sizeof arg.policy};
    if (ioctl(fd, FS_IOC_GET_ENCRYPTION_POLICY_EX, &arg) < 0) {
        if (errno == ENODATA)
            return FSCRYPT_PLAIN;
        return errno == ENOTTY || errno == EOPNOTSUPP || errno == EINVAL || errno == ENOSYS
                   ? FSCRYPT_UNSUPPORTED
                   : err_errno("cannot look at the encryption of a directory");
    }
    if (arg.policy.version != FSCRYPT_POLICY_V2)
        return FSCRYPT_PLAIN;
    memcpy(ret->bytes, arg.policy.v2.master_key_identifier, sizeof ret->bytes);
    return 0;
}

int fscrypt_add(int fd, const void *raw, struct fscrypt_id *ret) {
    union {
        struct fscrypt_add_key_arg arg;
        char bytes[sizeof(struct fscrypt_add_key_arg) + FSCRYPT_RAW_SIZE];
    } add = {.arg = {.key_spec = {.type = FSCRYPT_KEY_SPEC_TYPE_IDENTIFIER}, .raw_size = FSCRYPT_RAW_SIZE}};
    memcpy(add.bytes + sizeof add.arg, raw, FSCRYPT_RAW_SIZE);
    int r = ioctl(fd, FS_IOC_ADD_ENCRYPTION_KEY, &add.arg);
    int saved = errno;
    explicit_bzero(add.bytes + sizeof add.arg, FSCRYPT_RAW_SIZE);
    errno = saved;
    if (r < 0)
        return err_errno("the kernel does not take the key of the vault");
    memcpy(ret->bytes, add.arg.key_spec.u.identifier, sizeof ret->bytes);
    return 0;
}

int fscrypt_protect(int fd, const struct fscrypt_id *id) {
    struct fscrypt_policy_v2 policy = {.version = FSCRYPT_POLICY_V2,
                                       .contents_encryption_mode = FSCRYPT_MODE_AES_256_XTS,
                                       .filenames_encryption_mode = FSCRYPT_MODE_AES_256_CTS,
                                       .flags = FSCRYPT_POLICY_FLAGS_PAD_32};
    memcpy(policy.master_key_identifier, id->bytes, sizeof id->bytes);
    return ioctl(fd, FS_IOC_SET_ENCRYPTION_POLICY, &policy) < 0
               ? err_errno("the directory of the vault cannot be encrypted")
               : 0;
}

int fscrypt_state(int fd, const struct fscrypt_id *id, struct fscrypt_state *ret) {
    struct fscrypt_get_key_status_arg arg = {.key_spec = {.type = FSCRYPT_KEY_SPEC_TYPE_IDENTIFIER}};
    memcpy(arg.key_spec.u.identifier, id->bytes, sizeof id->bytes);
    if (ioctl(fd, FS_IOC_GET_ENCRYPTION_KEY_STATUS, &arg) < 0) {
        if (errno != ENOTTY && errno != EOPNOTSUPP)
            return err_errno("cannot ask the kernel for the key of the vault");
        arg.status = FSCRYPT_KEY_STATUS_ABSENT;
    }
    *ret = (struct fscrypt_state){.present = arg.status == FSCRYPT_KEY_STATUS_PRESENT,
                                  .partly = arg.status == FSCRYPT_KEY_STATUS_INCOMPLETELY_REMOVED,
                                  .ours = arg.status_flags & FSCRYPT_KEY_STATUS_FLAG_ADDED_BY_SELF};
    return 0;
}

static int remove_key(int fd, const struct fscrypt_id *id, uint32_t *ret_flags) {
    struct fscrypt_remove_key_arg arg = {.key_spec = {.type = FSCRYPT_KEY_SPEC_TYPE_IDENTIFIER}};
    memcpy(arg.key_spec.u.identifier, id->bytes, sizeof id->bytes);
    if (ioctl(fd, FS_IOC_REMOVE_ENCRYPTION_KEY, &arg) < 0)
        return -1;
    *ret_flags = arg.removal_status_flags;
    return 0;
}

static struct fscrypt_removal what_kept(uint32_t flags) {
    return (struct fscrypt_removal){.busy = flags & FSCRYPT_KEY_REMOVAL_STATUS_FLAG_FILES_BUSY,
                                    .other_users = flags & FSCRYPT_KEY_REMOVAL_STATUS_FLAG_OTHER_USERS};
}

int fscrypt_remove(int fd, const struct fscrypt_id *id, struct fscrypt_removal *ret) {
    uint32_t flags = 0;
    if (remove_key(fd, id, &flags) < 0)
        return errno == ENOKEY || errno == ENOTTY || errno == EOPNOTSUPP
                   ? FSCRYPT_ABSENT
                   : err_errno("the kernel does not give up the key of the vault");
    *ret = what_kept(flags);
    return 0;
}

struct removal_order {
    const char *path;
    struct fscrypt_id id;
};

enum { REMOVAL_FAILED = 64, REMOVAL_ABSENT };

/* Runs in a child, see process_probe(): the flags, or one of the above. */
static int remove_in_child(const void *userdata) {
    const struct removal_order *order = userdata;
    uint32_t flags = 0;
    int fd = open(order->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? REMOVAL_ABSENT : REMOVAL_FAILED;
    if (remove_key(fd, &order->id, &flags) == 0)
        return (int)(flags & 63);
    return errno == ENOKEY || errno == ENOTTY || errno == EOPNOTSUPP ? REMOVAL_ABSENT : REMOVAL_FAILED;
}

int fscrypt_remove_by(const char *path, const struct fscrypt_id *id, int64_t deadline,
                      struct fscrypt_removal *ret) {
    const struct removal_order order = {.path = path, .id = *id};
    int result = 0;
    int r = process_probe(remove_in_child, &order, deadline, &result);
    if (r < 0)
        return r;
    if (result == REMOVAL_ABSENT)
        return FSCRYPT_ABSENT;
    if (result == REMOVAL_FAILED)
        return err_set(ERR_SYSTEM, "the kernel does not give up the key of the vault");
    *ret = what_kept((uint32_t)result);
    return 0;
}

int fscrypt_remove_begin(const char *path, const struct fscrypt_id *id, struct process *ret) {
    const struct removal_order order = {.path = path, .id = *id};
    return process_begin(remove_in_child, &order, ret);
}

bool fscrypt_is_shut(int fd) {
    struct fscrypt_id id;
    struct fscrypt_state state;
    return fscrypt_look(fd, &id) == 0 && (fscrypt_state(fd, &id, &state) < 0 || !state.present);
}
