/* Lists routes in order without sorting a million rows. The address space is cut into partitions,
 * each a private list of row slots; a slice sorts only what it returns.
 *
 *   partition: the first 16 bits of an IPv4 address; of IPv6, 19 bits where unicast addresses
 *   live (2000::/3), 10 and 12 bits below and above. Monotone in the address, so partitions in
 *   turn are addresses in turn.
 *
 * The lists are doubly linked by arrays indexed by row slot (8 bytes a row), made by the first
 * walk and kept up to date by rib_apply from then on.
 */
#include <errno.h>
#include <stdlib.h>

#include "rib/private.h"

enum {
    PARTITIONS4 = 65536,
    BELOW6 = 1024,  /* ::/3 by 10 bits */
    GLOBAL6 = 65536, /* 2000::/3 by 19 bits in all */
    ABOVE6 = 3072,  /* the rest by 12 bits */
    PARTITIONS = PARTITIONS4 + BELOW6 + GLOBAL6 + ABOVE6,
    EXAMINE = 16384, /* rows looked at, after which a slice ends with its partition */
};

struct rib_order {
    uint32_t head[PARTITIONS];
    uint32_t *next, *previous; /* by row slot; 0 = none */
    uint32_t heap[RIB_WALK_MAX];
};

static uint32_t partition_of(const uint8_t prefix[16], uint8_t family)
{
    uint32_t top = (uint32_t)prefix[0] << 24 | (uint32_t)prefix[1] << 16 |
                   (uint32_t)prefix[2] << 8 | prefix[3];
    if (family == 4)
        return top >> 16;
    if (top < 0x20000000u)
        return PARTITIONS4 + (top >> 19);
    if (top < 0x40000000u)
        return PARTITIONS4 + BELOW6 + ((top - 0x20000000u) >> 13);
    return PARTITIONS4 + BELOW6 + GLOBAL6 + ((top - 0x40000000u) >> 20);
}

void order_add(struct rib *rib, uint32_t index)
{
    struct rib_order *order = rib->order;
    uint32_t *head = &order->head[partition_of(rib->row[index].prefix, rib->row[index].family)];
    order->next[index] = *head;
    order->previous[index] = 0;
    if (*head != 0)
        order->previous[*head] = index;
    *head = index;
}

void order_remove(struct rib *rib, uint32_t index)
{
    struct rib_order *order = rib->order;
    uint32_t next = order->next[index], previous = order->previous[index];
    if (next != 0)
        order->previous[next] = previous;
    if (previous != 0)
        order->next[previous] = next;
    else
        order->head[partition_of(rib->row[index].prefix, rib->row[index].family)] = next;
}

static int order_build(struct rib *rib)
{
    size_t slots = (size_t)rib->max_rows + 2;
    struct rib_order *order = calloc(1, sizeof *order);
    if (order == NULL)
        return -ENOMEM;
    order->next = calloc(slots, sizeof *order->next);
    order->previous = calloc(slots, sizeof *order->previous);
    if (order->next == NULL || order->previous == NULL) {
        free(order->next);
        free(order->previous);
        free(order);
        return -ENOMEM;
    }
    rib->order = order;
    for (uint32_t index = 1; index < rib->fresh_row; index++)
        if (rib->row[index].family != 0)
            order_add(rib, index);
    return 0;
}

void rib_walk_release(struct rib *rib)
{
    if (rib->order == NULL)
        return;
    free(rib->order->next);
    free(rib->order->previous);
    free(rib->order);
    rib->order = NULL;
}

uint64_t order_bytes(const struct rib *rib)
{
    return rib->order ? sizeof *rib->order + 8ul * (rib->max_rows + 2ul) : 0;
}

/* Of two keys in one partition (so of one family): address, length, rank. */
static int compare(const struct rib_row *a, const uint8_t prefix[16], uint8_t length,
                   uint64_t rank)
{
    int order = memcmp(a->prefix, prefix, 16);
    if (order != 0)
        return order;
    if (a->length != length)
        return a->length < length ? -1 : 1;
    uint64_t mine = rib_row_rank(a);
    return mine == rank ? 0 : mine < rank ? -1 : 1;
}

static int above(const struct rib *rib, uint32_t a, uint32_t b)
{
    const struct rib_row *other = &rib->row[b];
    return compare(&rib->row[a], other->prefix, other->length, rib_row_rank(other)) > 0;
}

/* ---- a heap of the smallest rows found so far, the greatest on top ---- */

static void sift_down(const struct rib *rib, uint32_t *heap, uint32_t n, uint32_t at)
{
    for (uint32_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && above(rib, heap[child + 1], heap[child]))
            child++;
        if (!above(rib, heap[child], heap[at]))
            return;
        uint32_t swap = heap[at];
        heap[at] = heap[child];
        heap[child] = swap;
    }
}

static uint32_t heap_keep(const struct rib *rib, uint32_t *heap, uint32_t n, uint32_t max,
                          uint32_t index)
{
    if (n == max) {
        if (above(rib, heap[0], index)) {
            heap[0] = index;
            sift_down(rib, heap, n, 0);
        }
        return n;
    }
    uint32_t at = n;
    for (; at > 0 && above(rib, index, heap[(at - 1) / 2]); at = (at - 1) / 2)
        heap[at] = heap[(at - 1) / 2];
    heap[at] = index;
    return n + 1;
}

static void heap_sort(const struct rib *rib, uint32_t *heap, uint32_t n)
{
    while (n > 1) {
        uint32_t top = heap[0];
        heap[0] = heap[--n];
        heap[n] = top;
        sift_down(rib, heap, n, 0);
    }
}

static int within(const struct rib_row *row, const struct rib_filter *filter)
{
    uint32_t bytes = filter->length / 8, bits = filter->length % 8;
    if (row->length < filter->length || memcmp(row->prefix, filter->prefix, bytes) != 0)
        return 0;
    return bits == 0 || (row->prefix[bytes] ^ filter->prefix[bytes]) >> (8 - bits) == 0;
}

static int passes(const struct rib *rib, const struct rib_row *row,
                  const struct rib_filter *filter)
{
    return (filter->source == 0 || row->source == filter->source) &&
           (!filter->selected || row->mark & RIB_SELECTED) &&
           (!filter->stale || row_stale(rib, row)) && (!filter->within || within(row, filter));
}

/* The partitions a filter can match: [*first, *end). -EINVAL for a filter that says nonsense. */
static int range_of(const struct rib_filter *filter, uint32_t *first, uint32_t *end)
{
    *first = filter->family == 6 ? PARTITIONS4 : 0;
    *end = filter->family == 4 ? PARTITIONS4 : PARTITIONS;
    if (filter->source >= SOURCE_COUNT ||
        (filter->family != 0 && filter->family != 4 && filter->family != 6))
        return -EINVAL;
    if (filter->within) {
        struct route_row key;
        uint8_t last[16];
        memset(&key, 0, sizeof key);
        memcpy(key.prefix, filter->prefix, 16);
        key.length = filter->length;
        key.family = filter->family;
        if (row_valid(&key) != 0)
            return -EINVAL;
        memcpy(last, key.prefix, 16);
        for (uint32_t bit = key.length; bit < 32; bit++)
            last[bit / 8] |= (uint8_t)(0x80u >> bit % 8);
        *first = partition_of(key.prefix, key.family);
        *end = partition_of(last, key.family) + 1;
    }
    return 0;
}

int rib_walk(struct rib *rib, struct rib_cursor *cursor, const struct rib_filter *filter,
             struct rib_route *out, uint32_t max)
{
    uint32_t first, end, filled = 0, examined = 0;
    const struct route_row *key = &cursor->key;
    if (cursor->state > 2 || cursor->partition > PARTITIONS || max == 0 || max > RIB_WALK_MAX ||
        range_of(filter, &first, &end) != 0)
        return -EINVAL;
    if (rib->order == NULL && order_build(rib) != 0)
        return -ENOMEM;
    uint64_t rank = row_rank(key->distance, key->metric, key->source);
    if (cursor->partition < first) {
        cursor->partition = first;
        cursor->state = 0;
    }
    while (cursor->state != 2 && filled < max) {
        if (cursor->partition >= end) {
            cursor->state = 2;
            break;
        }
        if (examined >= EXAMINE)
            break;
        uint32_t *heap = rib->order->heap, n = 0, room = max - filled, matched = 0;
        uint32_t index = rib->order->head[cursor->partition];
        for (; index != 0; index = rib->order->next[index], examined++) {
            const struct rib_row *row = &rib->row[index];
            if (!passes(rib, row, filter) ||
                (cursor->state == 1 && compare(row, key->prefix, key->length, rank) <= 0))
                continue;
            matched++;
            n = heap_keep(rib, heap, n, room, index);
        }
        heap_sort(rib, heap, n);
        for (uint32_t i = 0; i < n; i++)
            row_export(rib, &rib->row[heap[i]], &out[filled++]);
        if (matched > n) { /* more here: go on after the last one returned */
            cursor->key = out[filled - 1].row;
            cursor->state = 1;
        } else {
            cursor->partition++;
            cursor->state = 0;
        }
    }
    return (int)filled;
}
