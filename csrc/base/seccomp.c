/* Lists of system calls, and the classic BPF made of them. See seccomp.h. */
#include "base/seccomp.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/ipc.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#define ARCHITECTURE 0
#endif
#define FOREIGN_NUMBERS 0x40000000u /* of x32 on x86_64; no number of ours is that large */

/* Allowed to a worker whatever the arguments; the kernel keeps a bitmap of these, so they cost
 * nothing. What it does at every batch comes first. */
static const int worker_calls[] = {
    SYS_ppoll, SYS_sendmmsg, SYS_sendmsg, SYS_recvmsg, SYS_clock_gettime,
#ifdef SYS_poll
    SYS_poll,
#endif
    SYS_msgsnd, SYS_semop, SYS_semtimedop, SYS_futex, SYS_read, SYS_write, SYS_writev,
    SYS_sendto, SYS_recvfrom, SYS_recvmmsg, SYS_sched_yield,
    /* memory that Python and malloc ask for; never executable, see below */
    SYS_munmap, SYS_mremap, SYS_madvise, SYS_brk,
    /* descriptors it has */
    SYS_close, SYS_close_range, SYS_dup, SYS_dup3, SYS_fcntl, SYS_lseek, SYS_fstat,
#ifdef SYS_newfstatat
    SYS_newfstatat, /* how glibc asks fstat() */
#endif
#ifdef SYS_dup2
    SYS_dup2,
#endif
    SYS_getsockopt, SYS_shutdown, SYS_getsockname, SYS_getpeername, SYS_connect,
    SYS_memfd_create, /* a long message travels in one */
    /* itself: time, signals, identity, CPU, randomness, the end */
    SYS_clock_getres, SYS_clock_nanosleep, SYS_nanosleep, SYS_gettimeofday, SYS_getrandom,
    SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_rt_sigtimedwait, SYS_sigaltstack,
    SYS_restart_syscall, SYS_getpid, SYS_gettid, SYS_getppid, SYS_getuid, SYS_geteuid, SYS_getgid,
    SYS_getegid, SYS_sched_getaffinity, SYS_sched_setaffinity, SYS_getrusage, SYS_times, SYS_getcpu,
    SYS_rseq, SYS_set_robust_list, SYS_exit, SYS_exit_group,
#ifdef SYS_time
    SYS_time,
#endif
#ifdef SYS_pause
    SYS_pause,
#endif
};

/* A worker that asks for one of these is not ours any more: SIGSYS. */
static const int hostile_calls[] = {
    SYS_execve, SYS_execveat, SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_bpf,
    SYS_userfaultfd, SYS_kill, SYS_tkill, SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo,
    SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register, SYS_pidfd_send_signal,
    SYS_pidfd_open, SYS_pidfd_getfd, SYS_perf_event_open, SYS_open_by_handle_at, SYS_unshare,
    SYS_setns, SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_init_module,
    SYS_finit_module, SYS_delete_module, SYS_kexec_load, SYS_add_key, SYS_request_key, SYS_keyctl,
    SYS_kcmp,
};

/* Nobody of ours needs these, root or not. */
static const int control_refused[] = {
    SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_bpf, SYS_userfaultfd,
    SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register, SYS_perf_event_open,
    SYS_open_by_handle_at, SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_init_module,
    SYS_finit_module, SYS_delete_module, SYS_kexec_load, SYS_add_key, SYS_request_key, SYS_keyctl,
    SYS_kcmp, SYS_acct, SYS_swapon, SYS_swapoff, SYS_reboot, SYS_settimeofday, SYS_clock_settime,
    SYS_clock_adjtime, SYS_adjtimex, SYS_quotactl, SYS_lookup_dcookie, SYS_vhangup,
};

/* What Python asks of a socket: not to block, not to survive an exec. */
static const uint32_t descriptor_flags[] = {FIONBIO, FIOCLEX, FIONCLEX};

#define COUNT(list) (sizeof(list) / sizeof *(list))
enum { MOST = 512 };

struct program {
    struct sock_filter code[MOST];
    uint16_t length;
};

static void emit(struct program *p, uint16_t code, uint32_t k, uint8_t yes, uint8_t no)
{
    if (p->length < MOST)
        p->code[p->length++] = (struct sock_filter){code, yes, no, k};
}

static void answer(struct program *p, uint32_t action)
{
    emit(p, BPF_RET | BPF_K, action, 0, 0);
}

/* A is the number of the call, before and after. */
static void whole(struct program *p, int number, uint32_t action)
{
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 1);
    answer(p, action);
}

/* The low 32 bits of an argument: both machines are little-endian, and none of the arguments looked
 * at has more (int, in the kernel too). */
static void argument(struct program *p, unsigned index)
{
    uint32_t at = (uint32_t)(offsetof(struct seccomp_data, args) + 8u * index);
    emit(p, BPF_LD | BPF_W | BPF_ABS, at, 0, 0);
}

/* Allows `number` when argument `index` is one of the values, else `action`. */
static void one_of(struct program *p, int number, unsigned index, const uint32_t *values,
                   unsigned count, uint32_t action)
{
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, (uint8_t)(2 * count + 2));
    argument(p, index);
    for (unsigned i = 0; i < count; i++) {
        emit(p, BPF_JMP | BPF_JEQ | BPF_K, values[i], 0, 1);
        answer(p, SECCOMP_RET_ALLOW);
    }
    answer(p, action);
}

static void only(struct program *p, int number, unsigned index, uint32_t value, uint32_t action)
{
    one_of(p, number, index, &value, 1, action);
}

/* Allows `number` when argument `index` has none of `bits`, else `action`. */
static void without(struct program *p, int number, unsigned index, uint32_t bits, uint32_t action)
{
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 4);
    argument(p, index);
    emit(p, BPF_JMP | BPF_JSET | BPF_K, bits, 1, 0);
    answer(p, SECCOMP_RET_ALLOW);
    answer(p, action);
}

static void begin(struct program *p)
{
    emit(p, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch), 0, 0);
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0);
    answer(p, SECCOMP_RET_KILL_PROCESS);
    emit(p, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr), 0, 0);
    emit(p, BPF_JMP | BPF_JGE | BPF_K, FOREIGN_NUMBERS, 0, 1);
    answer(p, SECCOMP_RET_KILL_PROCESS);
}

static void worker_program(struct program *p, uint32_t harmless, uint32_t hostile)
{
    for (unsigned i = 0; i < COUNT(worker_calls); i++)
        whole(p, worker_calls[i], SECCOMP_RET_ALLOW);
    without(p, SYS_mmap, 2, PROT_EXEC, hostile); /* rings, a new FIB, malloc; never code */
    without(p, SYS_mprotect, 2, PROT_EXEC, hostile);
    only(p, SYS_socket, 0, AF_UNIX, hostile); /* to look for the supervisor's successor */
    only(p, SYS_tgkill, 0, (uint32_t)getpid(), hostile); /* abort() of its own */
    only(p, SYS_setsockopt, 1, SOL_SOCKET, harmless);
    without(p, SYS_msgget, 1, IPC_CREAT, harmless); /* the queue that replaces one that was spoilt */
    one_of(p, SYS_ioctl, 1, descriptor_flags, COUNT(descriptor_flags), harmless);
    for (unsigned i = 0; i < COUNT(hostile_calls); i++)
        whole(p, hostile_calls[i], hostile);
    answer(p, harmless); /* opening by name, forking, and all that is not written above */
}

static void control_program(struct program *p, uint32_t harmless)
{
    for (unsigned i = 0; i < COUNT(control_refused); i++)
        whole(p, control_refused[i], harmless);
    answer(p, SECCOMP_RET_ALLOW);
}

int sys_seccomp(uint32_t policy, uint32_t mode)
{
    struct program p = {.length = 0};
    if (ARCHITECTURE == 0)
        return -ENOSYS;
    if (mode != SECCOMP_LOG && mode != SECCOMP_ENFORCE)
        return -EINVAL;
    uint32_t harmless = SECCOMP_RET_ERRNO | EPERM, hostile = SECCOMP_RET_KILL_PROCESS;
    if (mode == SECCOMP_LOG)
        harmless = hostile = SECCOMP_RET_LOG;
    begin(&p);
    if (policy == SECCOMP_POLICY_WORKER)
        worker_program(&p, harmless, hostile);
    else if (policy == SECCOMP_POLICY_CONTROL)
        control_program(&p, harmless);
    else
        return -EINVAL;
    if (p.length >= MOST)
        return -E2BIG;
    struct sock_fprog code = {p.length, p.code};
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &code) == 0 ? 0 : -errno;
}

int sys_seccomp_available(uint32_t mode)
{
    static const uint32_t needed[] = {SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_ERRNO};
    static const uint32_t log = SECCOMP_RET_LOG;
    if (ARCHITECTURE == 0)
        return 0;
    for (unsigned i = 0; i < COUNT(needed); i++) {
        if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &needed[i]) != 0)
            return 0;
    }
    return mode != SECCOMP_LOG || syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &log) == 0;
}

int sys_seccomp_try(uint32_t trial)
{
    static const char nowhere[] = "/nonexistent/ribcage";
    long done;
    switch (trial) {
    case TRIAL_OPEN:
        done = syscall(SYS_openat, -100, "/dev/null", 0, 0);
        break;
    case TRIAL_EXEC: /* no such file, and were there one, no arguments */
        done = syscall(SYS_execve, nowhere, NULL, NULL);
        break;
    case TRIAL_PTRACE:
        done = syscall(SYS_ptrace, 0x4206, getppid(), 0, 0); /* PTRACE_SEIZE */
        break;
    case TRIAL_PACKET_SOCKET:
        done = syscall(SYS_socket, AF_PACKET, SOCK_RAW, 0);
        break;
    case TRIAL_BPF:
        done = syscall(SYS_bpf, 0, NULL, 0);
        break;
    case TRIAL_IO_URING:
        done = syscall(SYS_io_uring_setup, 1, NULL);
        break;
    case TRIAL_USERFAULTFD:
        done = syscall(SYS_userfaultfd, 0);
        break;
    case TRIAL_PROCESS_VM:
        done = syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0);
        break;
    case TRIAL_KILL: /* signal 0 asks only whether it might */
        done = syscall(SYS_kill, getppid(), 0);
        break;
    case TRIAL_FORK: /* without CLONE_VM and with an impossible flag: refused by any kernel */
        done = syscall(SYS_clone, 0x00000800UL | 0x00010000UL, NULL, NULL, NULL, 0UL);
        break;
    case TRIAL_EXEC_MEMORY: {
        void *at = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        done = at == MAP_FAILED ? -1 : munmap(at, 4096);
        break;
    }
    case TRIAL_INET_SOCKET:
        done = syscall(SYS_socket, AF_INET, SOCK_DGRAM, 0);
        break;
    case TRIAL_UNLINK:
        done = syscall(SYS_unlinkat, -100, nowhere, 0);
        break;
    default:
        return -EINVAL;
    }
    return done >= 0 ? 0 : -errno;
}
