/* What the interval engine offers, and what its writer keeps. See interval.h. */
#include "engines/engine.h"
#include "engines/interval/interval.h"
#include "engines/interval/write/build.h"
#include "engines/table.h"

#include <errno.h>
#include <stdlib.h>

/* A job's lists of pieces, kept between changes for their memory alone. */
static int open_job(struct fib_writer *writer, uint8_t family)
{
    struct interval_job *job = calloc(1, sizeof *job);
    if (job == NULL)
        return -ENOMEM;
    job->writer = writer;
    writer->engine_state[family_index(family)] = job;
    return 0;
}

static void close_job(struct fib_writer *writer, uint8_t family)
{
    struct interval_job *job = writer->engine_state[family_index(family)];
    if (job == NULL)
        return;
    free(job->taken.piece);
    free(job->replaced.piece);
    free(job);
}

const struct lpm_engine lpm_interval = {
    .id = FIB_ENGINE_INTERVAL,
    .families = LPM_IPV4 | LPM_IPV6,
    .name = "interval",
    .layout = LAYOUT(INTERVAL_LAYOUT),
    .lookup = interval_lookup,
    .lookup6 = interval_lookup_lean,
    .match = interval_match,
    .blocks_for = interval_blocks_for,
    .most_blocks = INTERVAL_MAX_BLOCKS,
    .open = open_job,
    .close = close_job,
    .apply = interval_apply,
    .exact = interval_exact,
    .walk = interval_walk,
};
