/* Copies candidates out of the table in the order of its memory: for a checkpoint. Reads only. */
#include "rib/private.h"

int rib_export(const struct rib *rib, uint32_t sources, uint32_t *slot, uint32_t budget,
               struct route_row *rows, uint32_t max, uint32_t *n)
{
    uint32_t filled = 0;
    if (*slot == 0)
        *slot = 1;
    for (; *slot < rib->fresh_row && budget != 0 && filled < max; ++*slot, budget--) {
        const struct rib_row *row = &rib->row[*slot];
        if (row->family == 0 || (sources >> row->source & 1u) == 0)
            continue;
        struct route_row *out = &rows[filled++];
        memcpy(out->prefix, row->prefix, sizeof out->prefix);
        out->length = row->length;
        out->family = row->family;
        out->source = row->source;
        out->distance = row->distance;
        out->metric = row->metric;
        out->nexthop = row->nexthop;
        out->flags = 0;
    }
    *n = filled;
    return *slot < rib->fresh_row;
}
