/* Merges the changes of one rib_apply. A prefix that flips a hundred times inside a call comes out
 * once, and not at all when it ends where it began.
 *
 * The changes so far stand in a small private hash table. When RIB_MERGE of them are known it
 * starts anew, so that a bulk load costs neither memory nor time in proportion.
 */
#include "rib/private.h"

void merge_begin(struct rib *rib, struct rib_merging *m, struct route_row *changes, uint64_t n)
{
    m->changes = changes;
    m->n = m->start = 0;
    for (m->mask = 1; m->mask + 1 < 2 * RIB_MERGE && m->mask < 2 * n;)
        m->mask = m->mask << 1 | 1;
    memset(rib->merge, 0, (m->mask + 1) * sizeof *rib->merge);
}

/* Drops changes since `start` that ended where they began, and forgets the table. */
static void flush(struct rib *rib, struct rib_merging *m)
{
    uint32_t kept = m->start;
    for (uint32_t i = m->start; i < m->n; i++)
        if (m->changes[i].nexthop != rib->merge_old[i - m->start])
            m->changes[kept++] = m->changes[i];
    m->n = m->start = kept;
    memset(rib->merge, 0, (m->mask + 1) * sizeof *rib->merge);
}

void merge_add(struct rib *rib, struct rib_merging *m, uint32_t hash, uint32_t old)
{
    const struct route_row *change = &m->changes[m->n];
    uint32_t slot = hash & m->mask;
    for (; rib->merge[slot] != 0; slot = (slot + 1) & m->mask) {
        struct route_row *earlier = &m->changes[m->start + rib->merge[slot] - 1];
        if (same_key(earlier, change)) {
            *earlier = *change;
            return;
        }
    }
    rib->merge_old[m->n - m->start] = old;
    m->n++;
    rib->merge[slot] = (uint16_t)(m->n - m->start);
    if (m->n - m->start == RIB_MERGE)
        flush(rib, m);
}

uint32_t merge_end(struct rib *rib, struct rib_merging *m)
{
    flush(rib, m);
    return m->n;
}
