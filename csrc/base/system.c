/* Thin wrappers: argument checks, errno to return value. See system.h. */
#include "base/system.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

int sys_signalfd(const int32_t *signals, uint32_t n)
{
    sigset_t set;
    sigemptyset(&set);
    for (uint32_t i = 0; i < n; i++) {
        if (signals[i] <= 0 || signals[i] > SYS_MAX_SIGNAL || sigaddset(&set, signals[i]) != 0)
            return -EINVAL;
    }
    /* Blocked first: a signal between the two calls must wait for the descriptor. */
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return -errno;
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int sys_signal_read(int fd, struct sys_signal *out)
{
    struct signalfd_siginfo info;
    ssize_t n;
    do {
        n = read(fd, &info, sizeof info);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN ? 0 : -errno;
    if ((size_t)n != sizeof info)
        return -EBADMSG;
    out->number = info.ssi_signo;
    out->code = info.ssi_code;
    out->pid = info.ssi_pid;
    out->uid = info.ssi_uid;
    out->status = info.ssi_status;
    return 1;
}

/* The kernel's own call: its mask is one word, bit n-1 for signal n, where glibc's has 1024 bits. */
static uint64_t signal_mask(int how, uint64_t set)
{
    uint64_t before = 0;
    syscall(SYS_rt_sigprocmask, how, &set, &before, sizeof set);
    return before;
}

uint64_t sys_block_signals(void)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    uint64_t set = ~(uint64_t)0;
    for (unsigned i = 0; i < sizeof faults / sizeof *faults; i++)
        set &= ~((uint64_t)1 << (faults[i] - 1));
    for (int number = 32; number < SIGRTMIN; number++) /* glibc's own */
        set &= ~((uint64_t)1 << (number - 1));
    return signal_mask(SIG_BLOCK, set);
}

void sys_restore_signals(uint64_t mask)
{
    signal_mask(SIG_SETMASK, mask);
}

/* capget and capset have no libc wrapper; version 3 takes two 32-bit words a set. */
static int caps_get(struct __user_cap_data_struct data[2])
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    return syscall(SYS_capget, &header, data) == 0 ? 0 : -errno;
}

int sys_capabilities(uint64_t *effective, uint64_t *permitted)
{
    struct __user_cap_data_struct data[2];
    int error = caps_get(data);
    if (error != 0)
        return error;
    *effective = (uint64_t)data[1].effective << 32 | data[0].effective;
    *permitted = (uint64_t)data[1].permitted << 32 | data[0].permitted;
    return 0;
}

int sys_drop_capabilities(uint64_t keep)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    int error;

    /* The bounding set goes first, while CAP_SETPCAP may still be there. EINVAL ends the list:
     * the kernel knows no capability of that number. */
    for (unsigned long cap = 0; cap < 64; cap++) {
        if ((keep >> cap & 1) != 0)
            continue;
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0) {
            if (errno == EINVAL || errno == EPERM)
                break;
            return -errno;
        }
    }
    /* Kernels before 4.3 lack ambient sets: nothing to clear there. */
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0 && errno != EINVAL)
        return -errno;
    error = caps_get(data);
    if (error != 0)
        return error;
    for (unsigned word = 0; word < 2; word++) {
        uint32_t mask = (uint32_t)(keep >> (32 * word));
        data[word].permitted &= mask;
        data[word].effective = data[word].permitted;
        data[word].inheritable = 0;
    }
    return syscall(SYS_capset, &header, data) == 0 ? 0 : -errno;
}

int sys_keep_capabilities(int on)
{
    return prctl(PR_SET_KEEPCAPS, on != 0 ? 1L : 0L, 0, 0, 0) == 0 ? 0 : -errno;
}

int sys_no_new_privileges(void)
{
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 ? 0 : -errno;
}

int sys_set_name(const char *name)
{
    char comm[16] = {0};
    strncpy(comm, name, sizeof comm - 1);
    return prctl(PR_SET_NAME, comm, 0, 0, 0) == 0 ? 0 : -errno;
}

/* Fields 48 and 49 of /proc/self/stat (since Linux 3.5), counted behind the name, which may hold
 * blanks and parentheses of its own. */
static int argument_area(char **start, size_t *size)
{
    char text[1024];
    int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t n = read(fd, text, sizeof text - 1);
    int error = errno;
    close(fd);
    if (n < 0)
        return -error;
    text[n] = 0;
    char *at = strrchr(text, ')');
    for (int field = 2; at != NULL && field < 48; field++)
        at = strchr(at + 1, ' ');
    if (at == NULL)
        return -ENOTSUP;
    uint64_t first = strtoull(at, &at, 10), end = strtoull(at, NULL, 10);
    if (first == 0 || end <= first)
        return -ENOTSUP;
    *start = (char *)(uintptr_t)first;
    *size = (size_t)(end - first);
    return 0;
}

int sys_set_title(const char *title)
{
    char *start;
    size_t size, length = strlen(title);
    int error = argument_area(&start, &size);
    if (error != 0)
        return error;
    memset(start, 0, size); /* the last byte stays 0: else the kernel reads on into the environment */
    memcpy(start, title, length < size ? length : size - 1);
    return 0;
}

int sys_unshare(int flags)
{
    return unshare(flags) == 0 ? 0 : -errno;
}

int sys_setns(int fd, int type)
{
    return setns(fd, type) == 0 ? 0 : -errno;
}

int sys_close_range(uint32_t first, uint32_t last)
{
    if (first > last)
        return -EINVAL;
    return syscall(SYS_close_range, first, last, 0) == 0 ? 0 : -errno;
}
