/* Does the same with several sockets at once, where the kernel waits for a grace period in each call.
 *
 *     port_together(one, items, sizeof items[0], count);    // one(&items[i]) for each, at once
 *
 * Threads share a grace period, calls after one another take one each. They live within this call, so
 * a process that forks has one thread again when it returns; signals go on to the caller's thread.
 */
#ifndef RC_PORT_TOGETHER_H
#define RC_PORT_TOGETHER_H
#include "base/base.h"

enum { PORT_TOGETHER_MAX = 64 }; /* threads at most; what is above has its turn in this one */

/* `work` gets each item and its return value is nobody's. Without a thread to be had, one after the
 * other. */
void port_together(void *(*work)(void *), void *items, size_t size, uint32_t count);

#endif
