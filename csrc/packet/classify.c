/* Classifies a packet by its addresses, once its headers are sound. See steps.h. */
#include "base/address_class.h"
#include "packet/steps.h"

/* RFC 1812 5.3.7 (martians), 5.3.4 and 5.3.5 (broadcasts), RFC 4291 2.5.6 and 3927 7 (link-local).
 * What the host stack may want is not counted as dropped: it has its own copy. */
int packet_classify(struct packet *p)
{
    uint32_t source = address_class(p->family, p->source);
    uint32_t target = address_class(p->family, p->target);
    bool stays_on_link = target == ADDRESS_BROADCAST || target == ADDRESS_LINK_MULTICAST;

    /* DHCP, IGMP, duplicate address detection, MLD: asked before there is an address. */
    if (source == ADDRESS_UNSPECIFIED && stays_on_link)
        return PACKET_DELIVER;
    if (!p->host_port && source != ADDRESS_UNICAST && source != ADDRESS_LINK_LOCAL)
        return packet_drop(p, DROP_BAD_SOURCE);
    if (stays_on_link)
        return PACKET_DELIVER;
    switch (target) {
    case ADDRESS_UNSPECIFIED:
    case ADDRESS_MARTIAN:
        return packet_drop(p, DROP_BAD_DESTINATION);
    case ADDRESS_MULTICAST:
        return packet_drop(p, DROP_MULTICAST);
    case ADDRESS_LINK_LOCAL: /* from the host's default route: it belongs to some other link */
        if (p->host_port && source != ADDRESS_LINK_LOCAL)
            return packet_drop(p, DROP_LINK_LOCAL);
        return PACKET_DELIVER;
    default:
        break;
    }
    /* Neighbours probe our global addresses from their link-local ones (RFC 4861 7.3.3). */
    if (source == ADDRESS_LINK_LOCAL)
        return packet_local_or(p, DROP_LINK_LOCAL);
    if (p->station == STATION_BROADCAST || p->station == STATION_MULTICAST)
        return packet_local_or(p, DROP_BROADCAST);
    if (p->send_length > p->length)
        return packet_local_or(p, DROP_TRUNCATED);
    return PACKET_FORWARD;
}
