/* The IPv4 engines in lockstep (lockstep.h).
 *
 *   test_ipv4 SEED ROUNDS
 *
 * Addresses come from few byte values so that prefixes nest, runs share nodes and /24s get
 * sub-nodes; group ids cross 255, so that leaves turn wide and back. The multibit engine, itself
 * held to a golden model in tests/model, is the yardstick.
 */
#include "engines/table.h"

enum { FAMILY = 4, ENGINES = 4, ROUTES = 3000, ROWS = 600, KEYS = 700, GROUPS = 700 };
static const uint32_t engine_id[ENGINES] = {FIB_ENGINE_MULTIBIT, FIB_ENGINE_COMPACT,
                                           FIB_ENGINE_FLAT, FIB_ENGINE_BINARY};
#include "lockstep.h"

static uint32_t address[KEYS];

static uint32_t some_address(void)
{
    static const uint8_t few[] = {0, 1, 2, 3, 127, 128, 254, 255};
    uint32_t number = 0;
    for (int i = 0; i < 4; i++)
        number = number << 8 | (i < 2 ? few[below(4)] : below(3) ? few[below(8)] : below(256));
    return number;
}

static struct route_row some_row(void)
{
    struct route_row row = {.family = 4};
    uint32_t kind = below(16);
    uint32_t length = kind < 8 ? 17 + below(8) : kind < 13 ? 25 + below(8) : below(33);
    uint32_t first = some_address() & (length == 0 ? 0 : UINT32_MAX << (32 - length));
    uint32_t big = __builtin_bswap32(first);
    memcpy(row.prefix, &big, 4);
    row.length = (uint8_t)length;
    row.nexthop = below(3) == 0 ? 0 : 1 + below(below(4) == 0 ? GROUPS - 1 : 5);
    return row;
}

static void some_keys(struct fib_key *keys, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        address[i] = some_address() + below(3) - 1;
        uint32_t big = __builtin_bswap32(address[i]);
        memcpy(keys[i].address, &big, 4);
        keys[i].family = 4;
    }
}

static int ask_bare(struct fib_reader *of, uint32_t *groups, uint32_t n)
{
    return fib_lookup4(of, address, groups, n);
}

int main(int argc, char **argv)
{
    return lockstep(argc, argv);
}
