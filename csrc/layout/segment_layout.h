/* The first 64 bytes of every shared-memory segment: who made it, for which build, how large.
 *
 *   0        8      12     16       24        32       40         48     52   56          64
 *   +--------+------+------+--------+---------+--------+----------+------+----+-----------+
 *   | magic  |major |header| layout |instance | size   | compat / | kind |pid | checksum  |
 *   |        |minor |size  | id     | id      |        | incompat |      |    | of 8..56  |
 *   +--------+------+------+--------+---------+--------+----------+------+----+-----------+
 *
 * The creator writes everything but `magic`, then stores `magic` with release ordering; a reader
 * loads it with acquire ordering first, so a half-made segment reads as SEGMENT_INITIALISING and
 * is never used. After that the line never changes. `layout_id` is computed from sizeof and
 * offsetof of the structs behind the line, so a build with another layout is refused even when
 * nobody remembered to raise the version.
 *
 * Any process may read it; only the creator writes it. Promises nothing about what follows.
 */
#ifndef RC_SEGMENT_LAYOUT_H
#define RC_SEGMENT_LAYOUT_H
#include "base/base.h"

enum segment_kind { SEGMENT_FIB = 1, SEGMENT_RIB = 2, SEGMENT_STATS = 3, SEGMENT_SYNC = 4 };

struct segment_identity {
    uint64_t magic;        /* creator: release, last. reader: acquire, first */
    uint16_t major;        /* another major: refused */
    uint16_t minor;        /* a newer minor may only have added fields a reader can ignore */
    uint32_t header_size;  /* bytes of the fixed header, identity included */
    uint64_t layout_id;    /* digest of sizeof/offsetof of the header's structs */
    uint64_t instance_id;  /* random per router instance and start */
    uint64_t segment_size; /* bytes of the whole object */
    uint32_t compat;       /* features a reader may ignore */
    uint32_t incompat;     /* features a reader must know, else refuse */
    uint32_t kind;         /* enum segment_kind */
    uint32_t creator_pid;
    uint64_t checksum;     /* FNV-1a of bytes 8..55 */
};
RC_STATIC_ASSERT(sizeof(struct segment_identity) == 64, "identity is one cache line");

/* What the layout identity is made of, see layout/identity.h. */
#define SEGMENT_LAYOUT                                                                           \
    LAYOUT_STRUCT(segment_identity, magic, major, minor, header_size, layout_id, instance_id,    \
                  segment_size, compat, incompat, kind, creator_pid, checksum)

#endif
