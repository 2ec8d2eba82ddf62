/* Kernel calls that Python 3.11 lacks, or makes slowly: signalfd, signal masks, capabilities,
 * namespaces, close_range.
 *
 * Use: any process, at start, in the supervisor's loop or around a publish; never on the packet
 * path. All return 0 (or what they say) or -errno. None allocates, none keeps state. They promise nothing about
 * threads: capabilities and names are those of the calling thread, and our processes have one.
 */
#ifndef RC_SYSTEM_H
#define RC_SYSTEM_H
#include "base/base.h"

struct sys_signal { /* the part of struct signalfd_siginfo that we log and act upon */
    uint32_t number;
    int32_t code;
    uint32_t pid; /* sender, or the child of SIGCHLD */
    uint32_t uid;
    int32_t status;
};

enum { SYS_MAX_SIGNAL = 64 };

/* Blocks signals[0..n) and returns a non-blocking, close-on-exec descriptor that reports them. */
int sys_signalfd(const int32_t *signals, uint32_t n);
/* The next pending signal: 1 and *out filled, 0 when there is none. */
int sys_signal_read(int fd, struct sys_signal *out);

/* Blocks every signal of this thread but the faults (SEGV, BUS, FPE, ILL, ABRT: a blocked one would
 * kill without a trace) and returns the mask before, for sys_restore_signals. Python's own
 * pthread_sigmask makes an enum member of each signal, 30 us a call. */
uint64_t sys_block_signals(void);
void sys_restore_signals(uint64_t mask);

/* Keeps at most the capabilities of `keep` (bit = CAP_*): effective, permitted and bounding set;
 * clears the inheritable and ambient sets. A bounding set that may not be changed (no
 * CAP_SETPCAP) is left: with no_new_privileges it grants nothing. */
int sys_drop_capabilities(uint64_t keep);
/* Effective and permitted sets of this thread. */
int sys_capabilities(uint64_t *effective, uint64_t *permitted);
/* 1: a change of uid keeps the permitted set until sys_drop_capabilities says which to keep. */
int sys_keep_capabilities(int on);
int sys_no_new_privileges(void);
/* What ps and /proc/PID/comm show; cut at 15 bytes. */
int sys_set_name(const char *name);
/* What ps -f, pgrep -f and /proc/PID/cmdline show in place of how the process was started; cut
 * where that line ended. The memory is the process's own copy; Python has long read it. */
int sys_set_title(const char *title);
int sys_unshare(int flags);
int sys_setns(int fd, int type);
/* Closes first..last inclusive; last = 0xffffffff: all from first on. */
int sys_close_range(uint32_t first, uint32_t last);

#endif
