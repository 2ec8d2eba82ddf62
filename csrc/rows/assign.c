/* Fills in next-hop ids, distance and metric of parsed rows. See assign.h. */
#include "rows/assign.h"

#include "rows/rows.h"

void rows_usage(const struct route_row *rows, uint64_t n, const struct row_assignment *how,
                const struct row_usage *usage)
{
    for (uint64_t i = 0; i < n; i++) {
        uint32_t number = rows[i].nexthop, six = rows[i].family == 6;
        if (number == 0)
            continue;
        if ((rows[i].flags & ROW_GATEWAY) == 0 && how->n_ids[six] != 0)
            usage->ids[six][(number - 1) % how->n_ids[six]]++;
        else if ((rows[i].flags & ROW_GATEWAY) != 0 && number <= how->n_gateways)
            usage->gateways[number - 1]++;
    }
}

uint64_t rows_assign(struct route_row *rows, uint64_t n, const struct row_assignment *how)
{
    for (uint64_t i = 0; i < n; i++) {
        struct route_row *row = &rows[i];
        uint32_t number = row->nexthop;
        uint32_t nexthop = 0;
        uint32_t six = row->family == 6;
        if (number == 0)
            return i;
        if ((row->flags & ROW_GATEWAY) != 0) {
            if (number > how->n_gateways)
                return i;
            nexthop = how->gateways[six][number - 1];
        } else if (how->n_ids[six] != 0) {
            nexthop = how->ids[six][(number - 1) % how->n_ids[six]];
        }
        if (nexthop == 0)
            return i;
        row->nexthop = nexthop;
        row->metric = how->metric;
        row->source = how->source;
        row->distance = how->distance;
        row->flags = 0;
    }
    return n;
}

uint64_t rows_renumber(struct route_row *rows, uint64_t n, const uint32_t *map, uint32_t size,
                       uint32_t sources)
{
    for (uint64_t i = 0; i < n; i++) {
        struct route_row *row = &rows[i];
        if (row_valid(row) != 0 || row->source >= SOURCE_COUNT ||
            (sources >> row->source & 1u) == 0 || row->nexthop >= size || map[row->nexthop] == 0)
            return i;
        row->nexthop = map[row->nexthop];
        row->flags = 0;
    }
    return n;
}
