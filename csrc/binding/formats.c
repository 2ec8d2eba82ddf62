/* See formats.h. */
#include "binding/formats.h"
#include "fib/fib.h"
#include "report/stats.h"
#include "rib/rib.h"
#include "sync/lock/locks.h"

const struct segment_format *segment_format(uint32_t kind)
{
    static const struct segment_format *const all[] = {&fib_format, &rib_format, &stats_format,
                                                       &sync_format};
    for (uint32_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (all[i]->kind == kind)
            return all[i];
    return NULL;
}

const struct layout_item *segment_item(const struct segment_format *format, uint32_t position)
{
    const struct layout *list;
    for (uint32_t i = 0; (list = format->part(i)) != NULL; i++) {
        if (position < list->items)
            return &list->item[position];
        position -= (uint32_t)list->items;
    }
    return NULL;
}
