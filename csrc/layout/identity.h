/* What the layout identity of a segment is made of: each shared struct, its fields, its numbers.
 *
 *   struct multibit_node { uint64_t slot[MULTIBIT_SLOTS]; uint32_t list; uint32_t own[1]; };
 *
 *   #define MULTIBIT_LAYOUT                                                                     \
 *       LAYOUT_STRUCT(multibit_node, slot, list, own)                                           \
 *       LAYOUT_NUMBER(MULTIBIT_SLOTS)
 *
 * Use: such a list stands at the foot of every header that declares what processes share, and
 * LAYOUT(MULTIBIT_LAYOUT) goes into the table entry of whoever owns it: a format
 * (segment/segment.h), an engine, a strategy. From it come the layout id (names, places, sizes,
 * values, in the order of the list) and the tables of docs/shm-layout.md. A test holds each list to
 * the fields of its structs, and another changes each struct and wants another id.
 *
 * Constant; any process.
 */
#ifndef RC_IDENTITY_H
#define RC_IDENTITY_H
#include "base/base.h"

struct layout_item {
    const char *name; /* "multibit_node", "multibit_node.list" or "MULTIBIT_SLOTS" */
    uint64_t at;      /* of a field: its offset; of a number: its value */
    uint64_t bytes;   /* of a number: 0 */
};

struct layout {
    const struct layout_item *item;
    uint64_t items; /* 0: somebody forgot it */
};

#if RC_INLINE_SECTION

#define LAYOUT(...)                                                                              \
    {                                                                                            \
        .item = (const struct layout_item[]){__VA_ARGS__},                                       \
        .items = sizeof((const struct layout_item[]){__VA_ARGS__}) / sizeof(struct layout_item)  \
    }
#define LAYOUT_NUMBER(n) {#n, (uint64_t)(n), 0},
#define LAYOUT_FIELD(s, f) {#s "." #f, offsetof(struct s, f), sizeof(((struct s *)0)->f)},
/* A struct with up to 16 fields. */
#define LAYOUT_STRUCT(s, ...) {#s, 0, sizeof(struct s)}, LAYOUT_FIELDS(__VA_ARGS__)(s, __VA_ARGS__)

#define LAYOUT_FIELDS(...)                                                                       \
    LAYOUT_17TH(__VA_ARGS__, LAYOUT_16, LAYOUT_15, LAYOUT_14, LAYOUT_13, LAYOUT_12, LAYOUT_11,   \
                LAYOUT_10, LAYOUT_9, LAYOUT_8, LAYOUT_7, LAYOUT_6, LAYOUT_5, LAYOUT_4, LAYOUT_3, \
                LAYOUT_2, LAYOUT_FIELD, )
#define LAYOUT_17TH(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, which, ...) which
#define LAYOUT_2(s, f, ...) LAYOUT_FIELD(s, f) LAYOUT_FIELD(s, __VA_ARGS__)
#define LAYOUT_3(s, f, ...) LAYOUT_FIELD(s, f) LAYOUT_2(s, __VA_ARGS__)
#define LAYOUT_4(s, f, ...) LAYOUT_FIELD(s, f) LAYOUT_3(s, __VA_ARGS__)
#define LAYOUT_5(s, f, ...) LAYOUT_FIELD(s, f) LAYOUT_4(s, __VA_ARGS__)
#define LAYOUT_6(s, f, ...) LAYOUT_FIELD(s, f) LAYOUT_5(s, __VA_ARGS__)
#define LAYOUT_7(s, f, ...) LAYOUT_FIELD(s, f) LAYOUT_6(s, __VA_ARGS__)
#define LAYOUT_8(s, f, ...) LAYOUT_FIELD(s, f) LAYOUT_7(s, __VA_ARGS__)
#define LAYOUT_9(s, f, ...) LAYOUT_FIELD(s, f) LAYOUT_8(s, __VA_ARGS__)
#define LAYOUT_10(s, f, ...) LAYOUT_FIELD(s, f) LAYOUT_9(s, __VA_ARGS__)
#define LAYOUT_11(s, f, ...) LAYOUT_FIELD(s, f) LAYOUT_10(s, __VA_ARGS__)
#define LAYOUT_12(s, f, ...) LAYOUT_FIELD(s, f) LAYOUT_11(s, __VA_ARGS__)
#define LAYOUT_13(s, f, ...) LAYOUT_FIELD(s, f) LAYOUT_12(s, __VA_ARGS__)
#define LAYOUT_14(s, f, ...) LAYOUT_FIELD(s, f) LAYOUT_13(s, __VA_ARGS__)
#define LAYOUT_15(s, f, ...) LAYOUT_FIELD(s, f) LAYOUT_14(s, __VA_ARGS__)
#define LAYOUT_16(s, f, ...) LAYOUT_FIELD(s, f) LAYOUT_15(s, __VA_ARGS__)

#endif
#endif
