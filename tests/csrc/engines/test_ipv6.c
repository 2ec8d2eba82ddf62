/* The IPv6 engines in lockstep (lockstep.h).
 *
 *   test_ipv6 SEED ROUNDS
 *
 * Rows crowd where the structure has its edges: hundreds of /33../48 in one /32 (lines,
 * separators, directories, and back), hosts in a few /64s (escapes, and directories behind
 * them), /0../16, and any length at all over few byte values; group ids cross 255, so that lines
 * turn wide and back. The multibit engine, itself held to a golden model in tests/model, is the
 * yardstick.
 */
#include "engines/table.h"

enum { FAMILY = 6, ENGINES = 3, ROUTES = 1500, ROWS = 600, KEYS = 700, GROUPS = 700 };
static const uint32_t engine_id[ENGINES] = {FIB_ENGINE_MULTIBIT, FIB_ENGINE_INTERVAL,
                                           FIB_ENGINE_BINARY};
#include "lockstep.h"

static uint8_t address[KEYS][16];

static void some_address(uint8_t *to)
{
    static const uint8_t few[] = {0, 1, 2, 127, 128, 254, 255};
    uint32_t kind = below(8);
    for (int i = 0; i < 16; i++)
        to[i] = below(3) ? few[below(7)] : (uint8_t)below(256);
    if (kind < 6)
        memcpy(to, "\x20\x01\x0d\xb8", 4);
    if (kind < 3) /* crowd: /48s of one /32 */
        to[4] = (uint8_t)below(3);
    if (kind == 4 || kind == 5) { /* hosts of three /64s */
        memset(to + 4, 0, 4);
        to[7] = (uint8_t)below(3);
        if (kind == 5)
            memset(to + 8, 0, 6);
    }
}

static struct route_row some_row(void)
{
    struct route_row row = {.family = 6};
    uint32_t kind = below(16);
    some_address(row.prefix);
    uint32_t length = kind < 8 ? 33 + below(16) : kind < 12 ? 65 + below(64) : below(129);
    for (uint32_t bit = length; bit < 128; bit++)
        row.prefix[bit / 8] &= (uint8_t)~(0x80 >> bit % 8);
    row.length = (uint8_t)length;
    row.nexthop = below(3) == 0 ? 0 : 1 + below(below(4) == 0 ? GROUPS - 1 : 5);
    return row;
}

static void some_keys(struct fib_key *keys, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        some_address(address[i]);
        if (below(2)) /* the last address of something */
            memset(address[i] + below(16), 0xff, 1);
        memcpy(keys[i].address, address[i], 16);
        keys[i].family = 6;
    }
}

static int ask_bare(struct fib_reader *of, uint32_t *groups, uint32_t n)
{
    return fib_lookup6(of, (const uint8_t(*)[16])address, groups, n);
}

int main(int argc, char **argv)
{
    return lockstep(argc, argv);
}
