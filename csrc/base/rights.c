/* Capability sets, securebits, dumping. See rights.h. */
#include "base/rights.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Root's exec gives nothing, a change to uid 0 gives nothing, no capability outlives a change of
 * user, no ambient one is added: each with its lock. */
static const unsigned long locked =
    SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED |
    SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;

struct sets {
    struct __user_cap_header_struct header;
    struct __user_cap_data_struct data[2];
};

static int get(struct sets *s)
{
    s->header = (struct __user_cap_header_struct){_LINUX_CAPABILITY_VERSION_3, 0};
    return syscall(SYS_capget, &s->header, s->data) == 0 ? 0 : -errno;
}

/* Permitted and effective become `keep` of what is permitted; inheritable becomes `inherit`. */
static int set(struct sets *s, uint64_t keep, uint64_t inherit)
{
    for (unsigned word = 0; word < 2; word++) {
        s->data[word].permitted &= (uint32_t)(keep >> (32 * word));
        s->data[word].effective = s->data[word].permitted;
        s->data[word].inheritable = (uint32_t)(inherit >> (32 * word)) & s->data[word].permitted;
    }
    return syscall(SYS_capset, &s->header, s->data) == 0 ? 0 : -errno;
}

static int drop_bounding(uint64_t keep)
{
    for (unsigned long cap = 0; cap < 64; cap++) {
        if ((keep >> cap & 1) == 0 && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0) {
            if (errno == EINVAL || errno == EPERM) /* the last capability, or no CAP_SETPCAP */
                return 0;
            return -errno;
        }
    }
    return 0;
}

static int raise_ambient(uint64_t ambient, const struct sets *s)
{
    uint64_t may = (uint64_t)s->data[1].inheritable << 32 | s->data[0].inheritable;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0)
        return errno == EINVAL ? 0 : -errno; /* before Linux 4.3 */
    for (unsigned long cap = 0; cap < 64; cap++) {
        if ((ambient & may) >> cap & 1 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) != 0)
            return -errno;
    }
    return 0;
}

int sys_confine(uint64_t keep, uint64_t ambient, uint32_t flags)
{
    struct sets s;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return -errno;
    int error = get(&s);
    /* A change of user has emptied the effective set; all that is permitted comes back, for the
     * steps that need CAP_SETPCAP. */
    if (error == 0)
        error = set(&s, ~(uint64_t)0, ambient & keep);
    if (error == 0)
        error = drop_bounding(keep);
    if (error == 0)
        error = raise_ambient(ambient & keep, &s);
    if (error == 0 && (flags & SYS_CONFINE_LOCK) != 0 &&
        prctl(PR_SET_SECUREBITS, locked, 0, 0, 0) != 0 && errno != EPERM)
        error = -errno;
    return error != 0 ? error : set(&s, keep, ambient & keep);
}

int sys_dumpable(int on)
{
    return prctl(PR_SET_DUMPABLE, on != 0 ? 1L : 0L, 0, 0, 0) == 0 ? 0 : -errno;
}
