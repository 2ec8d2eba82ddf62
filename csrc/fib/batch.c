/* The writer's public functions, with the strategy around each: begin, bank_*, changed.
 *
 *     first change     write_begin: lock taken, number made odd, nothing
 *     each change      bank_apply, bank_set_group .. in the bank that is worked on
 *     fib_publish      bank_publish there, the strategy's own publish, write_end
 *
 * Control alone, under the writer's semaphore. See fib.h for the contracts.
 */
#include "fib/fib.h"
#include "sync/strategy.h"

#include <errno.h>

static int begin(struct fib_writer *writer, struct fib_writer **bank)
{
    if (!writer->open) {
        int error = writer->sync->write_begin(writer);
        if (error != 0)
            return error;
        writer->open = 1;
    }
    *bank = fib_working(writer);
    return 0;
}

static void changed(struct fib_writer *writer, uint32_t kind, uint64_t id, const void *data,
                    uint64_t bytes)
{
    const struct fib_entry entry = {.kind = kind, .id = (uint32_t)id, .bytes = bytes};
    if (writer->sync->changed != NULL)
        writer->sync->changed(writer, &entry, data);
}

int fib_apply(struct fib_writer *writer, const struct route_row *rows, uint64_t n,
              uint64_t *applied, uint64_t *changes)
{
    struct fib_writer *bank;
    *applied = *changes = 0;
    int error = begin(writer, &bank);
    if (error != 0)
        return error;
    error = bank_apply(bank, rows, n, applied, changes);
    enum { AT_ONCE = 512 }; /* rows of one entry */
    for (uint64_t at = 0; writer->sync->changed != NULL && at < *applied; at += AT_ONCE) {
        uint64_t size = *applied - at < AT_ONCE ? *applied - at : AT_ONCE;
        changed(writer, ENTRY_ROWS, size, rows + at, size * sizeof *rows);
    }
    return error;
}

int fib_set_group(struct fib_writer *writer, const struct fib_group *group)
{
    struct fib_writer *bank;
    int error = begin(writer, &bank);
    if (error == 0)
        error = bank_set_group(bank, group);
    if (error == 0)
        changed(writer, ENTRY_GROUP, group->id, group,
                offsetof(struct fib_group, bucket) + group->buckets * sizeof(uint32_t));
    return error;
}

int fib_set_adjacency(struct fib_writer *writer, const struct fib_adjacency *adjacency)
{
    struct fib_writer *bank;
    int error = begin(writer, &bank);
    if (error == 0)
        error = bank_set_adjacency(bank, adjacency);
    if (error == 0)
        changed(writer, ENTRY_ADJACENCY, adjacency->id, adjacency, sizeof *adjacency);
    return error;
}

int fib_set_port(struct fib_writer *writer, const struct fib_port *port)
{
    struct fib_writer *bank;
    int error = begin(writer, &bank);
    if (error == 0)
        error = bank_set_port(bank, port);
    if (error == 0)
        changed(writer, ENTRY_PORT, port->index, port, sizeof *port);
    return error;
}

static int clear(struct fib_writer *writer, int (*bank_clear)(struct fib_writer *, uint32_t),
                 uint32_t kind, uint32_t id)
{
    struct fib_writer *bank;
    int error = begin(writer, &bank);
    if (error == 0)
        error = bank_clear(bank, id);
    if (error == 0)
        changed(writer, kind, id, NULL, 0);
    return error;
}

int fib_clear_group(struct fib_writer *writer, uint32_t id)
{
    return clear(writer, bank_clear_group, ENTRY_CLEAR_GROUP, id);
}

int fib_clear_adjacency(struct fib_writer *writer, uint32_t id)
{
    return clear(writer, bank_clear_adjacency, ENTRY_CLEAR_ADJACENCY, id);
}

int fib_clear_port(struct fib_writer *writer, uint32_t index)
{
    return clear(writer, bank_clear_port, ENTRY_CLEAR_PORT, index);
}

uint64_t fib_publish(struct fib_writer *writer, uint64_t update_id, uint64_t t0, uint64_t t1)
{
    struct fib_writer *bank;
    /* write_begin fails only for a lock that cannot even be broken: then as if there were none. */
    if (begin(writer, &bank) != 0)
        bank = fib_working(writer);
    uint64_t generation = bank_publish(bank, update_id, t0, t1);
    if (writer->sync->published != NULL)
        writer->sync->published(writer, generation);
    writer->unfinished = 0;
    fib_batch_end(writer);
    return generation;
}

int fib_unpublished(struct fib_writer *writer)
{
    return writer->unfinished || fib_working(writer)->seen != 0;
}

void fib_batch_end(struct fib_writer *writer)
{
    if (!writer->open)
        return;
    writer->open = 0;
    writer->sync->write_end(writer);
}

int fib_break_lock(struct fib_writer *writer)
{
    if (writer->sync->break_lock == NULL || writer->open)
        return 0;
    int error = writer->sync->break_lock(writer);
    if (error == 0)
        writer->sync->write_end(writer);
    return error;
}

uint32_t fib_walk(struct fib_writer *writer, struct route_row *cursor, struct route_row *rows,
                  uint32_t max)
{
    return bank_walk(fib_working(writer), cursor, rows, max, 0);
}

uint32_t fib_walk_places(struct fib_writer *writer, struct route_row *cursor,
                         struct route_row *rows, uint32_t max)
{
    return bank_walk(fib_working(writer), cursor, rows, max, 1);
}

uint32_t fib_exact(struct fib_writer *writer, const struct route_row *row)
{
    return bank_exact(fib_working(writer), row);
}

int fib_check(struct fib_writer *writer)
{
    int error = bank_check(fib_working(writer));
    if (error == 0)
        error = bank_examine(writer);
    if (error == 0 && writer->twin != NULL)
        error = bank_examine(writer->twin);
    return error == -ENOMEM ? 0 : error; /* not known is not wrong */
}
