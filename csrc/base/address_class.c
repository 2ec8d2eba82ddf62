/* Tells the class of an address from its prefix. See address_class.h. */
#include "base/address_class.h"

#include <string.h>

static uint32_t class4(const uint8_t *a)
{
    static const uint8_t limited_broadcast[4] = {255, 255, 255, 255};
    static const uint8_t unspecified[4] = {0};
    if (a[0] == 0)
        return memcmp(a, unspecified, 4) == 0 ? ADDRESS_UNSPECIFIED : ADDRESS_MARTIAN;
    if (a[0] == 127)
        return ADDRESS_MARTIAN;
    if (a[0] == 169 && a[1] == 254)
        return ADDRESS_LINK_LOCAL;
    if (a[0] < 224)
        return ADDRESS_UNICAST;
    if (a[0] >= 240)
        return memcmp(a, limited_broadcast, 4) == 0 ? ADDRESS_BROADCAST : ADDRESS_MARTIAN;
    return a[0] == 224 && a[1] == 0 && a[2] == 0 ? ADDRESS_LINK_MULTICAST : ADDRESS_MULTICAST;
}

static uint32_t class6(const uint8_t *a)
{
    /* ::, ::1 and ::ffff:0:0/96 all begin with ten zero bytes. The mapped ones are for sockets
     * alone (RFC 6890 table 20); on a wire they would slip past filters written for IPv4. */
    static const uint8_t zero[15] = {0};
    if (a[0] == 0 && memcmp(a, zero, 10) == 0) {
        if (a[10] == 0xff && a[11] == 0xff)
            return ADDRESS_MARTIAN;
        if (memcmp(a, zero, 15) == 0 && a[15] <= 1)
            return a[15] == 0 ? ADDRESS_UNSPECIFIED : ADDRESS_MARTIAN;
        return ADDRESS_UNICAST;
    }
    if (a[0] == 0xfe && (a[1] & 0xc0) == 0x80)
        return ADDRESS_LINK_LOCAL;
    if (a[0] != 0xff)
        return ADDRESS_UNICAST;
    /* The low nibble is the scope, the high one flags (RFC 4291 2.7): ff12:: is link scope too. */
    return (a[1] & 0x0f) == 2 ? ADDRESS_LINK_MULTICAST : ADDRESS_MULTICAST;
}

uint32_t address_class(uint32_t family, const uint8_t *address)
{
    return family == 4 ? class4(address) : class6(address);
}
