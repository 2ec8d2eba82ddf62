/* The set of own addresses. Promises: every global address of every port is found, of both
 * families, and nothing else is; link-local ones are not in it; reading again forgets what left;
 * a FIB that cannot be read now says so. */
#include <errno.h>

#include "check.h"
#include "decide/own_addresses.h"

static struct fib_port ports[FIB_MAX_PORTS];
static uint32_t busy_from = FIB_MAX_PORTS;

int fib_read_port(struct fib_reader *reader, uint32_t index, struct fib_port *out)
{
    (void)reader;
    if (index >= busy_from)
        return -EAGAIN;
    if (ports[index].addresses == 0)
        return -ENOENT;
    *out = ports[index];
    return 0;
}

static void give(uint32_t port, uint32_t family, const uint8_t *address, uint32_t length)
{
    struct fib_port_address *slot = &ports[port].address[ports[port].addresses++];
    slot->family = (uint8_t)family;
    memcpy(slot->address, address, length);
}

static bool has(const struct own_addresses *own, uint32_t family, const uint8_t *address,
                uint32_t length)
{
    uint8_t padded[16] = {0};
    memcpy(padded, address, length);
    return own_addresses_has(own, family, padded);
}

int main(void)
{
    static struct own_addresses own;
    const uint8_t link_local[16] = {0xfe, 0x80, [15] = 1};
    CHECK_EQUAL(0, own_addresses_read(&own, NULL));
    CHECK(!has(&own, 4, (const uint8_t[4]){10, 0, 0, 1}, 4));
    for (uint8_t port = 0; port < FIB_MAX_PORTS; port++) { /* as full as it can be */
        for (uint8_t i = 0; i < 4; i++) {
            give(port, 4, (const uint8_t[4]){10, port, i, 1}, 4);
            give(port, 6, (const uint8_t[16]){0x20, 1, 13, 184, port, i, [15] = 1}, 16);
        }
    }
    memcpy(ports[7].address[7].address, link_local, 16);
    ports[8].address[0] = ports[9].address[0]; /* the same address on two ports */
    CHECK_EQUAL(0, own_addresses_read(&own, NULL));
    CHECK_EQUAL(OWN_ADDRESSES_MAX - 2, own.count);
    CHECK(!has(&own, 6, link_local, 16));
    CHECK(!has(&own, 4, (const uint8_t[4]){10, 8, 0, 1}, 4));
    for (uint8_t port = 10; port < FIB_MAX_PORTS; port++) {
        for (uint8_t i = 0; i < 4; i++) {
            CHECK(has(&own, 4, (const uint8_t[4]){10, port, i, 1}, 4));
            CHECK(has(&own, 6, (const uint8_t[16]){0x20, 1, 13, 184, port, i, [15] = 1}, 16));
            CHECK(!has(&own, 4, (const uint8_t[4]){10, port, i, 2}, 4));
            CHECK(!has(&own, 6, (const uint8_t[4]){10, port, i, 1}, 4));
        }
    }
    ports[30].addresses = 0;
    CHECK_EQUAL(0, own_addresses_read(&own, NULL));
    CHECK(!has(&own, 4, (const uint8_t[4]){10, 30, 0, 1}, 4));
    CHECK(has(&own, 4, (const uint8_t[4]){10, 31, 0, 1}, 4));
    busy_from = 20;
    CHECK_EQUAL((uint64_t)-EAGAIN, (uint64_t)own_addresses_read(&own, NULL));
    return 0;
}
