/* Which addresses packets wait for: rows of the stats object that control reads in turn.
 *
 * Use: waits_open() with the worker's own object, waits_note() whenever control should be asked for
 * a neighbour, then event_wake() so that its bell rings. The reader's half is waits_read(): at most
 * STATS_WAITS rows, each copied once, whatever the writer does meanwhile.
 *
 * One writer, no lock. A writer killed inside leaves a row that says nothing.
 */
#ifndef RC_WAITS_H
#define RC_WAITS_H
#include "layout/stats_layout.h"

struct wait_table {
    struct stats_wait *row;
    uint32_t next; /* the row that makes room for an address that has none */
    uint32_t unused;
};

void waits_open(struct wait_table *table, struct stats_object *object);
void waits_note(struct wait_table *table, uint16_t port, uint8_t family, const uint8_t address[16],
                uint64_t now_ns);
/* Copies the rows whose asked_ns is not what `known` says of them, and notes it there. How many. */
uint32_t waits_read(const struct stats_object *object, uint64_t known[STATS_WAITS],
                    struct stats_wait out[STATS_WAITS]);

#endif
