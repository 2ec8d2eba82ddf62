/* The router's own addresses as a worker keeps them: is this source one of ours?
 *
 * Use: own_addresses_read() at times, own_addresses_has() for each packet: one hash and mostly
 * one empty slot, about 3 ns. Private memory, made from the FIB's port table; exact, no false
 * hits. Link-local addresses are left out: another link may have the same one (fe80::1).
 * Not promised: addresses that are on no port, or beyond the FIB_PORT_ADDRESSES of one.
 */
#ifndef RC_OWN_ADDRESSES_H
#define RC_OWN_ADDRESSES_H
#include "fib/fib.h"

enum {
    OWN_ADDRESSES_MAX = FIB_MAX_PORTS * FIB_PORT_ADDRESSES,
    OWN_ADDRESSES_SLOTS = 4 * OWN_ADDRESSES_MAX, /* a quarter full at most, a power of two */
};
RC_STATIC_ASSERT((OWN_ADDRESSES_SLOTS & (OWN_ADDRESSES_SLOTS - 1)) == 0, "masked");

struct own_addresses {
    struct fib_port_address address[OWN_ADDRESSES_MAX];
    uint16_t slot[OWN_ADDRESSES_SLOTS]; /* index into address[] + 1; 0: empty. Linear probing */
    uint32_t count;
};

/* Reads the port table again. 0, or -EAGAIN when the FIB could not be read now: what was known
 * of the ports after that one is missing until it is tried again. */
int own_addresses_read(struct own_addresses *own, struct fib_reader *fib);
/* `address` has 16 bytes, IPv4 in the first four and zeros behind them. */
bool own_addresses_has(const struct own_addresses *own, uint32_t family, const uint8_t *address);

#endif
