/* Reads the RIB: the candidates of a prefix, the best route of an address. Control only. */
#include <errno.h>

#include "rib/private.h"

int rib_get(const struct rib *rib, const struct route_row *key, struct rib_route *out,
            uint32_t max)
{
    const struct rib_row *found[RIB_MAX_CANDIDATES];
    uint32_t n = 0;
    if (row_valid(key) != 0)
        return -EINVAL;
    uint32_t index = row_of_word(rib, rib->bucket[rib_hash(rib, key) & rib->bucket_mask]);
    for (uint32_t met = 0; index != 0 && n < RIB_MAX_CANDIDATES && met < RIB_CHAIN_MOST;
         index = row_of_word(rib, rib->row[index].next), met++) {
        const struct rib_row *row = &rib->row[index];
        uint32_t at = n;
        if (!same_prefix(row, key))
            continue;
        for (; at > 0 && rib_row_rank(row) < rib_row_rank(found[at - 1]); at--)
            found[at] = found[at - 1];
        found[at] = row;
        n++;
    }
    for (uint32_t i = 0; i < n && i < max; i++)
        row_export(rib, found[i], &out[i]);
    return (int)n;
}

int rib_best(const struct rib *rib, const struct route_row *key, struct rib_route *out)
{
    uint32_t index = row_of_word(rib, rib->bucket[rib_hash(rib, key) & rib->bucket_mask]);
    for (uint32_t met = 0; index != 0 && met < RIB_CHAIN_MOST;
         index = row_of_word(rib, rib->row[index].next), met++) {
        const struct rib_row *row = &rib->row[index];
        if (row->mark & RIB_SELECTED && same_prefix(row, key)) {
            row_export(rib, row, out);
            return 0;
        }
    }
    return -ENOENT;
}

void rib_expect(const struct rib *rib, const struct route_row *keys, uint32_t n)
{
    enum { AT_ONCE = 32 };
    const uint32_t *bucket[AT_ONCE];
    for (uint32_t at = 0; at < n; at += AT_ONCE) {
        uint32_t some = n - at < AT_ONCE ? n - at : AT_ONCE;
        for (uint32_t i = 0; i < some; i++) {
            bucket[i] = &rib->bucket[rib_hash(rib, &keys[at + i]) & rib->bucket_mask];
            __builtin_prefetch(bucket[i]);
        }
        for (uint32_t i = 0; i < some; i++) {
            const struct rib_row *row = &rib->row[*bucket[i] <= rib->max_rows ? *bucket[i] : 0];
            __builtin_prefetch(row);
            __builtin_prefetch(&row->since);
        }
    }
}

static void keep_bits(uint8_t prefix[16], uint32_t length)
{
    for (uint32_t byte = 0; byte < 16; byte++) {
        uint32_t bits = length > byte * 8 ? length - byte * 8 : 0;
        if (bits < 8)
            prefix[byte] &= (uint8_t)(0xff00u >> bits);
    }
}

int rib_match(const struct rib *rib, const uint8_t address[16], uint8_t family,
              struct rib_route *out)
{
    struct route_row key;
    if (family != 4 && family != 6)
        return -EINVAL;
    memset(&key, 0, sizeof key);
    memcpy(key.prefix, address, family == 4 ? 4 : 16);
    key.family = family;
    for (int length = family == 4 ? 32 : 128; length >= 0; length--) {
        if (rib->length_routes[family_index(family)][length] == 0)
            continue;
        keep_bits(key.prefix, (uint32_t)length);
        key.length = (uint8_t)length;
        if (rib_best(rib, &key, out) == 0)
            return 0;
    }
    return -ENOENT;
}
