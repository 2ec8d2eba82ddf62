/* Sorted prefix lists of the compact engine: put, get, cover, check.
 *
 * Four kinds of list, one format (compact.h). Private memory, or a list of the segment that
 * this writer built or checked. Control alone, but for compact_list_cover's use in a match.
 */
#include "engines/compact/compact.h"

#include <string.h>

/* The first position whose prefix does not come before `prefix`. */
static uint32_t place(const uint32_t *entry, uint32_t count, uint32_t prefix)
{
    uint32_t order = compact_order(prefix), low = 0;
    while (count > 0) {
        uint32_t half = count / 2;
        int behind = compact_order(compact_entry_prefix(entry[low + half])) < order;
        low = behind ? low + half + 1 : low;
        count = behind ? count - half - 1 : half;
    }
    return low;
}

struct compact_position compact_list_find(const uint32_t *entry, uint32_t count, uint32_t prefix,
                                          int wanted)
{
#if defined(__x86_64__)
    if (cpu_avx512())
        return compact_list_find_avx512(entry, count, prefix);
#endif
    uint32_t at = place(entry, count, prefix), half = compact_first(prefix), i = wanted ? at : 0;
    /* Sorted: the last one in front that covers is the longest. */
    while (i > 0 && half - compact_first(compact_entry_prefix(entry[i - 1])) >=
                        compact_span(compact_entry_prefix(entry[i - 1])))
        i--;
    return (struct compact_position){at, i > 0 ? i - 1 : COMPACT_NO_COVER};
}

/* Puts one prefix (group 0: takes it out); returns the group it had. */
uint32_t compact_list_put(struct compact_list *list, uint32_t prefix, uint32_t group)
{
    uint32_t at = place(list->entry, list->count, prefix);
    uint32_t *entry = &list->entry[at];
    int there = at < list->count && compact_entry_prefix(*entry) == prefix;
    uint32_t before = there ? compact_entry_group(*entry) : 0;
    size_t behind = (list->count - at) * sizeof *entry;
    if (group != 0) {
        if (!there) {
            memmove(entry + 1, entry, behind);
            list->count++;
        }
        *entry = compact_entry(prefix, group);
    } else if (there) {
        memmove(entry, entry + 1, behind - sizeof *entry);
        list->count--;
    }
    return before;
}

uint32_t compact_list_get(const uint32_t *entry, uint32_t count, uint32_t prefix)
{
    uint32_t at = place(entry, count, prefix);
    return at < count && compact_entry_prefix(entry[at]) == prefix ? compact_entry_group(entry[at])
                                                                   : 0;
}

uint32_t compact_list_cover(const uint32_t *entry, uint32_t count, uint32_t half)
{
    uint32_t found = count;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t prefix = compact_entry_prefix(load_relaxed32(&entry[i]));
        if (half - compact_first(prefix) < compact_span(prefix))
            found = i; /* sorted: the last one that covers is the longest */
    }
    return found;
}

int compact_list_valid(const uint32_t *entry, uint32_t count, uint32_t shortest, uint32_t longest)
{
    uint32_t before = 0;
    if (count > COMPACT_LIST_MAX)
        return 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t prefix = compact_entry_prefix(entry[i]);
        if (prefix == 0 || compact_entry_group(entry[i]) == 0)
            return 0;
        uint32_t bits = compact_bits(prefix), order = compact_order(prefix);
        if (bits < shortest || bits > longest || (i > 0 && order <= before) ||
            (compact_first(prefix) & (compact_span(prefix) - 1)) != 0)
            return 0;
        before = order;
    }
    return 1;
}
