/* Which system calls a process may make once it has all it needs: classic BPF, built here.
 *
 * Use: sys_seccomp(SECCOMP_POLICY_WORKER, SECCOMP_ENFORCE), any process, for itself; needs
 * no_new_privs or CAP_SYS_ADMIN. There is no way back, children inherit it, a second filter only
 * takes more away. Returns 0 or -errno (-ENOSYS: not this machine).
 *
 * WORKER   a list of what a worker does. What is not on it is answered EPERM; what only an intruder
 *          asks for (another program, another process, raw sockets, the kernel's own doors) ends
 *          the process with SIGSYS.
 * CONTROL  a list of what neither control nor the supervisor nor a program of theirs ever does;
 *          that is answered EPERM, everything else goes on.
 *
 * ENFORCE does so; LOG lets it happen and has the kernel's audit log tell of it.
 */
#ifndef RC_SECCOMP_H
#define RC_SECCOMP_H
#include "base/base.h"

enum seccomp_policy { SECCOMP_POLICY_WORKER = 1, SECCOMP_POLICY_CONTROL = 2 };
enum seccomp_mode { SECCOMP_LOG = 1, SECCOMP_ENFORCE = 2 };

int sys_seccomp(uint32_t policy, uint32_t mode);
/* 1 when this kernel can do all that `mode` asks for. */
int sys_seccomp_available(uint32_t mode);
/* Makes one system call that the worker's list refuses, for tests and lessons: what it answered,
 * 0 or -errno; under ENFORCE some never return. -EINVAL for a number that is none of these. */
enum seccomp_trial {
    TRIAL_OPEN = 1,
    TRIAL_EXEC = 2,
    TRIAL_PTRACE = 3,
    TRIAL_PACKET_SOCKET = 4,
    TRIAL_BPF = 5,
    TRIAL_IO_URING = 6,
    TRIAL_USERFAULTFD = 7,
    TRIAL_PROCESS_VM = 8,
    TRIAL_KILL = 9,
    TRIAL_FORK = 10,
    TRIAL_EXEC_MEMORY = 11,
    TRIAL_INET_SOCKET = 12,
    TRIAL_UNLINK = 13
};
int sys_seccomp_try(uint32_t trial);

#endif
