/* The class of an address, as far as the address itself says (RFC 6890, 4291, 3927, 1112).
 *
 * Use: address_class(4 or 6, bytes in network order). A network's own broadcast address looks
 * like a unicast one here; only the FIB knows it (FIB_KIND_BROADCAST).
 */
#ifndef RC_ADDRESS_CLASS_H
#define RC_ADDRESS_CLASS_H
#include "base/base.h"

enum address_class {
    ADDRESS_UNICAST = 0,
    ADDRESS_UNSPECIFIED = 1,    /* 0.0.0.0, :: */
    ADDRESS_MARTIAN = 2,        /* 0/8, 127/8, 240/4; ::1, ::ffff:0:0/96: never on a wire */
    ADDRESS_LINK_LOCAL = 3,     /* 169.254/16, fe80::/10 */
    ADDRESS_BROADCAST = 4,      /* 255.255.255.255 */
    ADDRESS_LINK_MULTICAST = 5, /* 224.0.0/24, ffx2::/16: stays on its link */
    ADDRESS_MULTICAST = 6,      /* every other multicast address */
};

/* Returns an enum address_class; `address` has 4 or 16 bytes. */
uint32_t address_class(uint32_t family, const uint8_t *address);

#endif
