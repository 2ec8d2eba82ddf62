/* A FIB in memory of this process, whole: formatted, with its writer and a reader attached;
 * reader->segment is the memory, to be freed by the caller.
 *
 * Use: writer = fresh_fib(&params, &reader); ...; free((void *)(uintptr_t)reader.segment);
 */
#ifndef RC_TEST_FRESH_FIB_H
#define RC_TEST_FRESH_FIB_H
#include "check.h"
#include "fib/fib.h"

static inline struct fib_writer *fresh_fib(const struct fib_params *params,
                                           struct fib_reader *reader)
{
    uint64_t size = fib_segment_size(params);
    void *base = aligned_alloc(4096, size);
    CHECK(base != NULL);
    memset(base, 0, size);
    CHECK_EQUAL(0, fib_create(base, size, params));
    struct fib_writer *writer = fib_writer_open(base, size, NULL);
    CHECK(writer != NULL);
    CHECK_EQUAL(0, fib_reader_attach(reader, base, size));
    return writer;
}

#endif
