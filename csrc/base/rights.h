/* Rights that a process gives up: capability sets, securebits, dumping.
 *
 * Use: the child of a fork, for itself, in this order: sys_keep_capabilities(1), setgroups,
 * setresgid, setresuid, sys_confine(keep, ambient), sys_dumpable(...). All return 0 or -errno. They
 * act on the calling thread; our processes have one.
 */
#ifndef RC_RIGHTS_H
#define RC_RIGHTS_H
#include "base/base.h"

enum { SYS_CONFINE_LOCK = 1 };

/* Keeps at most the capabilities of `keep` (bit = CAP_*): effective, permitted, bounding set. What
 * a program that is executed gets is `ambient` (a subset of keep), also under no_new_privs, which is
 * set. With SYS_CONFINE_LOCK in `flags` the securebits are locked too: no user id, 0 included, gives
 * a capability ever again, and the ambient set cannot grow.
 *
 * Without CAP_SETPCAP the bounding set and the securebits stay as they are: with no_new_privs they
 * grant nothing. */
int sys_confine(uint64_t keep, uint64_t ambient, uint32_t flags);
/* 0: no core, no ptrace by others of the same user, /proc/PID belongs to root. A change of user has
 * done that already; a process that is to leave a core sets it back to 1. */
int sys_dumpable(int on);

#endif
