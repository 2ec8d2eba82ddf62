/* Compares slices of RIB and FIB. See verify.h. */
#include "verify/verify.h"

#include <string.h>

static uint32_t wanted_of(struct rib_aggregate *aggregate, const struct route_row *row,
                          uint32_t best)
{
    return aggregate != NULL ? rib_aggregate_wanted(aggregate, row, best) : best;
}

uint32_t verify_wanted(const struct rib *rib, struct rib_aggregate *aggregate,
                       const struct route_row *row)
{
    struct rib_route best;
    uint32_t group = rib_best(rib, row, &best) == 0 ? best.row.nexthop : 0;
    return wanted_of(aggregate, row, group);
}

uint32_t verify_routes(struct fib_writer *writer, struct rib_aggregate *aggregate,
                       const struct rib_route *routes, uint32_t n, struct route_row *out)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < n; i++) {
        const struct route_row *row = &routes[i].row;
        uint32_t wanted = wanted_of(aggregate, row, row->nexthop);
        if ((row->flags & ROW_SELECTED) != 0 && wanted != 0 && fib_exact(writer, row) != wanted) {
            out[found] = *row;
            out[found].nexthop = wanted;
            out[found].flags = 0;
            found++;
        }
    }
    return found;
}

void verify_exact(struct fib_writer *writer, const struct rib_route *routes, uint32_t n,
                  uint32_t *groups)
{
    for (uint32_t i = 0; i < n; i++)
        groups[i] = fib_exact(writer, &routes[i].row);
}

uint32_t verify_rows(const struct rib *rib, struct rib_aggregate *aggregate,
                     const struct route_row *rows, uint32_t n, struct route_row *out)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t wanted = verify_wanted(rib, aggregate, &rows[i]);
        if (wanted != rows[i].nexthop) {
            out[found] = rows[i];
            out[found].nexthop = wanted;
            found++;
        }
    }
    return found;
}

/* xorshift64* (Vigna 2014): repeatable from its seed, no state but one word. */
static uint64_t next_random(uint64_t *seed)
{
    uint64_t x = *seed != 0 ? *seed : 1;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *seed = x;
    return x * 0x2545f4914f6cdd1du;
}

static void random_key(struct fib_key *key, const struct rib_route *near, uint64_t *seed)
{
    uint64_t words[2] = {next_random(seed), next_random(seed)};
    memset(key, 0, sizeof *key);
    key->family = near != NULL ? near->row.family : (next_random(seed) & 1) != 0 ? 6 : 4;
    memcpy(key->address, words, key->family == 4 ? 4 : 16);
    if (near == NULL)
        return;
    uint32_t whole = near->row.length / 8u;
    uint32_t rest = near->row.length % 8u;
    if (whole > sizeof key->address)
        return;
    memcpy(key->address, near->row.prefix, whole);
    if (rest != 0 && whole < sizeof key->address) {
        uint8_t mask = (uint8_t)(0xff00u >> rest);
        key->address[whole] =
            (uint8_t)((near->row.prefix[whole] & mask) | (key->address[whole] & ~mask));
    }
}

enum { LOOKUPS = 64 };

uint32_t verify_lookups(const struct rib *rib, struct fib_reader *reader,
                        const struct rib_route *routes, uint32_t n_routes, uint64_t *seed,
                        uint32_t n, struct lookup_difference *out, uint32_t max)
{
    struct fib_key keys[LOOKUPS];
    uint32_t groups[LOOKUPS];
    uint32_t found = 0;
    for (uint32_t done = 0; done < n && found < max; done += LOOKUPS) {
        uint32_t batch = n - done < LOOKUPS ? n - done : LOOKUPS;
        for (uint32_t i = 0; i < batch; i++) {
            const struct rib_route *near = NULL;
            if (n_routes != 0 && (i & 1) == 0)
                near = &routes[next_random(seed) % n_routes];
            random_key(&keys[i], near, seed);
        }
        if (fib_lookup_groups(reader, keys, groups, batch) != 0)
            continue;
        for (uint32_t i = 0; i < batch && found < max; i++) {
            struct rib_route best;
            int miss = rib_match(rib, keys[i].address, keys[i].family, &best);
            uint32_t wanted = miss == 0 ? best.row.nexthop : 0;
            if (wanted == groups[i])
                continue;
            memcpy(out[found].address, keys[i].address, sizeof keys[i].address);
            out[found].family = keys[i].family;
            out[found].rib = wanted;
            out[found].fib = groups[i];
            found++;
        }
    }
    return found;
}
