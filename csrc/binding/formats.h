/* The formats of all segments by number: for Python, which opens segments of every kind. */
#ifndef RC_FORMATS_H
#define RC_FORMATS_H
#include "segment/segment.h"

/* Of an enum segment_kind; NULL for a number this build does not know. */
const struct segment_format *segment_format(uint32_t kind);
/* Item `position` of all the lists of a format; NULL behind the last. docs/layout.py, tests. */
const struct layout_item *segment_item(const struct segment_format *format, uint32_t position);

#endif
