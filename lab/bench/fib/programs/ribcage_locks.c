/* The locks of a strategy for the programs of this benchmark. See ribcage_locks.h. */
#include "ribcage_locks.h"

#include "sync/lock/locks.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct fib_locks locks = {.semaphore = -1};

int locks_make(int semaphore)
{
    locks.semaphore = semaphore;
    locks.size = sizeof(struct sync_segment);
    void *at = mmap(NULL, locks.size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return -errno;
    locks.memory = at;
    return sync_create(at, locks.size, 1);
}

int locks_open(const char *path, int semaphore)
{
    locks = (struct fib_locks){.semaphore = semaphore};
    if (strcmp(path, "-") == 0)
        return 0;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    locks.size = sizeof(struct sync_segment);
    void *at = mmap(NULL, locks.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at == MAP_FAILED)
        return -errno;
    locks.memory = at;
    return 0;
}

static uint32_t needs(const void *segment)
{
    const struct fib_header *header = segment;
    uint32_t flags = fib_strategy_flags(header->geometry.strategy);
    return flags & (SYNC_LOCK_MEMORY | SYNC_LOCK_SEMAPHORE);
}

int locks_waited_for(const void *base)
{
    return needs(base) != 0;
}

int locks_give(struct fib_reader *reader)
{
    return needs(reader->segment) == 0 ? 0 : fib_reader_locks(reader, &locks);
}

void locks_detach(struct fib_reader *reader)
{
    fib_reader_detach(reader);
}

struct fib_writer *locks_open_writer(void *base, uint64_t size, struct fib_recovery *recovery)
{
    return fib_writer_open_locked(base, size, needs(base) == 0 ? NULL : &locks, recovery);
}

const struct fib_header *locks_header(const void *base, uint32_t *banks, uint64_t *more)
{
    const struct fib_header *header = base;
    *banks = header->geometry.banks;
    *more = (uint64_t)header->geometry.ring_blocks * FIB_BLOCK;
    return fib_header_now(base);
}
