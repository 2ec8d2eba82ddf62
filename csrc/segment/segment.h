/* Identity lines: writing them, and saying what a segment is before anybody uses it.
 *
 *   const struct segment_format rib_format = { .kind = SEGMENT_RIB, .magic = .., .part = .. };
 *   segment_identify(base, size, &rib_format, instance_id)   // the creator, last of all
 *   segment_check(base, mapped, &rib_format) == SEGMENT_READY
 *
 * A format is the owner's: fib/, rib/, report/ and sync/ each have one. Its layout id is computed
 * from the lists of all its parts (layout/identity.h), so a build in which any struct of any part
 * is another refuses the segment, even when nobody remembered to raise the version. Any process.
 */
#ifndef RC_SEGMENT_H
#define RC_SEGMENT_H
#include "layout/identity.h"
#include "layout/segment_layout.h"

enum segment_state {
    SEGMENT_ABSENT = 0,       /* no such object (found by the opener, not by segment_check) */
    SEGMENT_INITIALISING = 1, /* magic not stored yet, or shorter than its identity line */
    SEGMENT_FOREIGN = 2,      /* another kind, version, layout, size or a bad checksum */
    SEGMENT_READY = 3,
};

struct segment_format {
    uint64_t magic;
    uint32_t kind; /* enum segment_kind */
    uint32_t header_size;
    uint16_t major;
    uint16_t minor;
    uint32_t incompat_known;
    /* The lists that make up the layout: position 0, 1, .., NULL behind the last. */
    const struct layout *(*part)(uint32_t position);
};

/* What this build expects of a segment; segment_expected() fills it. */
struct segment_expect {
    uint64_t magic;
    uint64_t layout_id;
    uint32_t kind;
    uint32_t header_size;
    uint16_t major;
    uint16_t minor;
    uint32_t incompat_known;
};

/* 0, or -EINVAL: no format, or one of its parts has an empty list (an engine, a strategy that
 * forgot it); then no such segment is made or attached. */
int segment_expected(const struct segment_format *format, struct segment_expect *out);
/* Writes the line, magic last. 0 or -EINVAL (as above; size below the header). */
int segment_identify(void *base, uint64_t size, const struct segment_format *format,
                     uint64_t instance_id);
/* Looks at `mapped` bytes at `base`; an enum segment_state. Never reads past `mapped`. */
int segment_check(const void *base, uint64_t mapped, const struct segment_format *format);

#endif
