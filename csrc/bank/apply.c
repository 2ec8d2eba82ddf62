/* The writer: rows go in, routes come into force, a generation is published.
 *
 * bank_apply hands stretches of rows to the family's engine, which puts the front of them in
 * force by one word, and accounts for what it says it did. bank_publish makes it official: stamp,
 * counts, generation, epoch. See layout/fib_layout.h for what readers may see in between.
 *
 * These are the functions on one bank; fib/batch.c puts the strategy around them. Control alone,
 * under the writer's semaphore. Taking over is in recover.c.
 */
#include "bank/bank.h"
#include "base/monotonic.h"
#include "engines/engine.h"
#include "rows/rows.h"

#include <errno.h>
#include <string.h>

enum { AHEAD = 32 }; /* rows: 1 KiB; a full load takes 18.1 instead of 19.2 ms */

/* Rows of the front an engine may see: valid, their groups set, of one family, at most one run. */
static uint64_t stretch(const struct fib_writer *writer, const struct route_row *rows, uint64_t n)
{
    const uint32_t *group = fib_directory(writer, FIB_OP_GROUP);
    uint32_t max = writer->group_use.max;
    uint64_t end = 0;
    if (n > LPM_RUN)
        n = LPM_RUN;
    for (; end < n; end++) {
        const struct route_row *row = &rows[end];
        __builtin_prefetch(row + AHEAD); /* a stretch begins where no stream is known yet */
        if (row->family != rows->family || row_valid(row) != 0)
            break;
        if (row->nexthop != 0 && (row->nexthop >= max || load_relaxed32(&group[row->nexthop]) == 0))
            break;
    }
    return end;
}

static uint64_t account_run(struct fib_writer *writer, const struct route_row *rows,
                            const struct lpm_run *run)
{
    uint32_t *routes = &writer->routes[family_index(rows[0].family)];
    uint64_t changed = 0;
    for (uint32_t i = 0; i < run->taken; i++) {
        uint32_t before = run->before[i], after = rows[i].nexthop;
        if (before == after)
            continue;
        changed++;
        if (after != 0) {
            writer->group_use.count[after]++;
            writer->digest += fib_route_digest(&rows[i], after);
        }
        if (before != 0) {
            writer->group_use.count[before]--;
            writer->digest -= fib_route_digest(&rows[i], before);
        }
        *routes += (uint32_t)(before == 0) - (uint32_t)(after == 0);
    }
    return changed;
}

int bank_apply(struct fib_writer *writer, const struct route_row *rows, uint64_t n,
              uint64_t *applied, uint64_t *changed)
{
    const struct fib_geometry *geometry = &writer->header->geometry;
    uint64_t ready = 0;
    struct lpm_run run;
    int error = 0;
    *applied = *changed = 0;
    while (*applied < n && error == 0) {
        const struct route_row *front = rows + *applied;
        if (ready == 0)
            ready = stretch(writer, front, n - *applied);
        if (ready == 0)
            return -EINVAL;
        uint32_t family = family_index(front->family);
        uint32_t limit = family == 0 ? geometry->max_routes4 : geometry->max_routes6;
        uint32_t routes = writer->routes[family];
        run.room = routes < limit ? limit - routes : 0;
        fib_make_room(writer);
        error = writer->engine[family]->apply(writer, front, ready, &run);
        if (error != 0)
            break;
        *changed += account_run(writer, front, &run);
        *applied += run.taken;
        ready -= run.taken;
    }
    return error;
}

void fib_account(struct fib_writer *writer)
{
    struct fib_published *published = &writer->header->published;
    store_relaxed64(&published->digest, writer->digest);
    store_relaxed32(&published->routes4, writer->routes[0]);
    store_relaxed32(&published->routes6, writer->routes[1]);
    store_relaxed32(&published->groups, writer->groups);
    store_relaxed32(&published->adjacencies, writer->adjacencies);
    store_relaxed32(&published->live_blocks, writer->arena.live);
    store_relaxed32(&published->retired_blocks, arena_retired(&writer->arena));
    store_relaxed32(&published->free_blocks, arena_free(&writer->arena));
    store_relaxed32(&published->high_water, writer->arena.opened - 1);
}

int fib_accounted(const struct fib_writer *writer)
{
    const struct fib_published *published = &writer->header->published;
    return load_relaxed64(&published->digest) == writer->digest &&
           load_relaxed32(&published->routes4) == writer->routes[0] &&
           load_relaxed32(&published->routes6) == writer->routes[1];
}

uint64_t bank_publish(struct fib_writer *writer, uint64_t update_id, uint64_t t0, uint64_t t1)
{
    struct fib_published *published = &writer->header->published;
    uint64_t generation = load_relaxed64(&published->generation) + 1;
    struct fib_stamp *stamp = fib_block(writer, writer->header->geometry.stamps_at);
    stamp += generation & (FIB_STAMPS - 1);

    /* Zero first and fenced, so that a reader never takes half of two stamps for one. */
    store_relaxed64(&stamp->generation, 0);
    atomic_thread_fence(memory_order_release);
    RC_FAULT("stamp-emptied");
    store_relaxed64(&stamp->t2, monotonic_ns());
    store_relaxed64(&stamp->update_id, update_id);
    store_relaxed64(&stamp->t0, t0);
    store_relaxed64(&stamp->t1, t1);
    store_relaxed32(&stamp->changes, writer->changes);
    fib_account(writer);
    RC_FAULT("counts-stored");
    store_relaxed64(&stamp->t3, monotonic_ns());
    store_release64(&stamp->generation, generation);
    RC_FAULT("stamp-stored");
    store_release64(&published->generation, generation);
    RC_FAULT("generation-stored");
    fib_bump(writer);
    writer->changes = writer->seen = 0;
    return generation;
}

void bank_republish(struct fib_writer *writer, const struct fib_stamp *stamp)
{
    struct fib_stamp *to = fib_block(writer, writer->header->geometry.stamps_at);
    to += stamp->generation & (FIB_STAMPS - 1);
    store_relaxed64(&to->generation, 0);
    atomic_thread_fence(memory_order_release);
    fib_fill(&to->update_id, &stamp->update_id, sizeof *to - offsetof(struct fib_stamp, update_id));
    fib_account(writer);
    store_release64(&to->generation, stamp->generation);
    store_release64(&writer->header->published.generation, stamp->generation);
    RC_FAULT("generation-repeated");
    fib_bump(writer);
    writer->changes = writer->seen = 0;
}

struct walk_out {
    struct route_row *rows;
    uint32_t n, max;
};

static int walk_route(void *context, const struct route_row *row)
{
    struct walk_out *out = context;
    out->rows[out->n++] = *row;
    return out->n == out->max;
}

uint32_t bank_walk(struct fib_writer *writer, struct route_row *cursor, struct route_row *rows,
                  uint32_t max, int places)
{
    struct walk_out out = {rows, 0, max};
    const struct lpm_visitor visitor = {NULL, walk_route, &out, places};
    for (uint8_t family = 4; family <= 6 && out.n < max; family += 2)
        if (cursor->family <= family)
            writer->engine[family_index(family)]->walk(
                writer, family, cursor->family == family ? cursor : NULL, &visitor);
    if (out.n > 0)
        *cursor = rows[out.n - 1];
    return out.n;
}

uint32_t bank_exact(struct fib_writer *writer, const struct route_row *row)
{
    if (row_valid(row) != 0)
        return 0;
    return writer->engine[family_index(row->family)]->exact(writer, row);
}

struct check_count {
    uint64_t digest;
    uint32_t routes[2];
};

static int check_route(void *context, const struct route_row *row)
{
    struct check_count *count = context;
    count->digest += fib_route_digest(row, row->nexthop);
    count->routes[family_index(row->family)]++;
    return 0;
}

int bank_check(struct fib_writer *writer)
{
    const struct fib_published *published = &writer->header->published;
    struct check_count count = {0};
    const struct lpm_visitor visitor = {NULL, check_route, &count, 0};
    for (uint8_t family = 4; family <= 6; family += 2)
        if (writer->engine[family_index(family)]->walk(writer, family, NULL, &visitor) != 0)
            return -EBADMSG;
    if (count.digest != writer->digest || count.routes[0] != writer->routes[0] ||
        count.routes[1] != writer->routes[1])
        return -EBADMSG;
    if (writer->changes == 0 &&
        (count.digest != published->digest || count.routes[0] != published->routes4 ||
         count.routes[1] != published->routes6))
        return -EBADMSG;
    return 0;
}
