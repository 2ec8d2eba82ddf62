/* The router's own addresses as a hash set. See own_addresses.h. */
#include "decide/own_addresses.h"

#include <errno.h>
#include <string.h>

#include "base/address_class.h"

static uint32_t first_slot(uint32_t family, const uint8_t *address)
{
    uint64_t high, low;
    memcpy(&high, address, 8);
    memcpy(&low, address + 8, 8);
    uint64_t hash = (high ^ (low + family) * 0x9e3779b97f4a7c15u) * 0xbf58476d1ce4e5b9u;
    return (uint32_t)(hash >> 40) & (OWN_ADDRESSES_SLOTS - 1);
}

static bool same(const struct fib_port_address *known, uint32_t family, const uint8_t *address)
{
    return known->family == family && memcmp(known->address, address, 16) == 0;
}

static void add(struct own_addresses *own, const struct fib_port_address *address)
{
    uint32_t slot = first_slot(address->family, address->address);
    while (own->slot[slot] != 0)
        slot = (slot + 1) & (OWN_ADDRESSES_SLOTS - 1);
    own->address[own->count++] = *address;
    own->slot[slot] = (uint16_t)own->count;
}

int own_addresses_read(struct own_addresses *own, struct fib_reader *fib)
{
    own->count = 0;
    memset(own->slot, 0, sizeof own->slot);
    for (uint32_t index = 0; index < FIB_MAX_PORTS; index++) {
        struct fib_port port;
        int error = fib_read_port(fib, index, &port);
        if (error == -EAGAIN)
            return error;
        if (error != 0)
            continue;
        for (uint32_t i = 0; i < port.addresses && i < FIB_PORT_ADDRESSES; i++) {
            const struct fib_port_address *address = &port.address[i];
            if ((address->family == 4 || address->family == 6) &&
                address_class(address->family, address->address) == ADDRESS_UNICAST &&
                !own_addresses_has(own, address->family, address->address))
                add(own, address);
        }
    }
    return 0;
}

bool own_addresses_has(const struct own_addresses *own, uint32_t family, const uint8_t *address)
{
    uint32_t slot = first_slot(family, address);
    for (; own->slot[slot] != 0; slot = (slot + 1) & (OWN_ADDRESSES_SLOTS - 1))
        if (same(&own->address[own->slot[slot] - 1], family, address))
            return true;
    return false;
}
