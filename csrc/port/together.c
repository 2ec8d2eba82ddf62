/* Threads for calls that wait. See together.h. */
#include "port/together.h"

#include <pthread.h>
#include <signal.h>

void port_together(void *(*work)(void *), void *items, size_t size, uint32_t count)
{
    pthread_t thread[PORT_TOGETHER_MAX];
    uint32_t started = 0;
    sigset_t all, before;
    sigfillset(&all);
    int blocked = pthread_sigmask(SIG_SETMASK, &all, &before) == 0; /* the threads inherit it */
    while (started + 1 < count && started < PORT_TOGETHER_MAX &&
           pthread_create(&thread[started], NULL, work, (char *)items + started * size) == 0)
        started++;
    if (blocked)
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    for (uint32_t i = started; i < count; i++) /* the last one here, and those that got no thread */
        (void)work((char *)items + i * size);
    for (uint32_t i = 0; i < started; i++)
        (void)pthread_join(thread[i], NULL);
}
