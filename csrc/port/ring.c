/* Takes frames out of a TPACKET_V2 ring and gives slots back. See ring.h. */
#include "port/ring.h"

#include <linux/if_packet.h>
#include <string.h>

#include "packet/packet.h"

enum { ADDRESS_AT = (sizeof(struct tpacket2_hdr) + TPACKET_ALIGNMENT - 1) / TPACKET_ALIGNMENT *
                    TPACKET_ALIGNMENT };

static struct tpacket2_hdr *slot_header(const struct ring *ring, uint32_t slot)
{
    const struct ring_geometry *g = &ring->geometry;
    uint64_t block = slot / g->slots_per_block;
    uint64_t within = slot % g->slots_per_block;
    return (void *)(ring->base + block * g->block_bytes + within * g->slot_bytes);
}

static uint32_t *slot_mark(struct tpacket2_hdr *header)
{
    return (uint32_t *)(void *)header->tp_padding;
}
RC_STATIC_ASSERT(offsetof(struct tpacket2_hdr, tp_padding) % sizeof(uint32_t) == 0 &&
                     sizeof(((struct tpacket2_hdr *)0)->tp_padding) == sizeof(uint32_t),
                 "the mark is one aligned word");

static uint32_t following(const struct ring *ring, uint32_t slot)
{
    return slot + 1 == ring->geometry.slots ? 0 : slot + 1;
}

void ring_open(struct ring *ring, uint8_t *base, const struct ring_geometry *geometry)
{
    memset(ring, 0, sizeof *ring);
    ring->base = base;
    ring->geometry = *geometry;
    ring->mark = 1;
}

uint32_t ring_resume(struct ring *ring, const struct port_counters *committed)
{
    uint32_t slots = ring->geometry.slots;
    uint32_t returned = 0;
    if (committed->ring_next >= slots || committed->ring_first >= slots)
        return 0;
    /* Nothing outside [first, next) can wear the committed mark: that batch was these slots. */
    for (uint32_t slot = committed->ring_first; slot != committed->ring_next;
         slot = following(ring, slot)) {
        struct tpacket2_hdr *header = slot_header(ring, slot);
        /* Acquire: the status first, then the mark the kernel zeroed before setting it. A slot
         * that is the kernel's may be in use by it right now and is left alone. */
        if ((load_acquire32(&header->tp_status) & TP_STATUS_USER) == 0 ||
            load_relaxed32(slot_mark(header)) != committed->ring_mark)
            continue;
        store_release32(&header->tp_status, TP_STATUS_KERNEL);
        returned++;
    }
    ring->next = committed->ring_next;
    ring->first = ring->next;
    ring->mark = committed->ring_mark == 0 ? 1 : committed->ring_mark;
    return returned;
}

void ring_begin(struct ring *ring)
{
    ring->first = ring->next;
    ring->taken = 0;
    ring->mark = ring->mark == UINT32_MAX ? 1 : ring->mark + 1;
}

int ring_ready(const struct ring *ring)
{
    return (load_relaxed32(&slot_header(ring, ring->next)->tp_status) & TP_STATUS_USER) != 0;
}

int ring_take(struct ring *ring, struct ring_frame *out)
{
    /* One slot stays out of a batch, so that first == next always means an empty one. */
    if (ring->taken + 1 >= ring->geometry.slots)
        return 0;
    struct tpacket2_hdr *header = slot_header(ring, ring->next);
    if ((load_acquire32(&header->tp_status) & TP_STATUS_USER) == 0)
        return 0;
    store_relaxed32(slot_mark(header), ring->mark);
    const uint8_t *slot = (const uint8_t *)header;
    const struct sockaddr_ll *from = (const void *)(slot + ADDRESS_AT);
    uint32_t mac = header->tp_mac;
    uint32_t captured = header->tp_snaplen;
    if (mac < sizeof *header + VNET_LENGTH || mac > ring->geometry.slot_bytes ||
        captured > ring->geometry.slot_bytes - mac) {
        mac = ring->geometry.slot_bytes - VNET_LENGTH;
        captured = 0;
    }
    out->frame = slot + mac;
    out->vnet = out->frame - VNET_LENGTH;
    out->captured = captured;
    out->wire_length = header->tp_len;
    out->station = from->sll_pkttype;
    ring->next = following(ring, ring->next);
    ring->taken++;
    return 1;
}

void ring_release(struct ring *ring)
{
    uint32_t slot = ring->first;
    for (uint32_t i = 0; i < ring->taken; i++) {
        RC_FAULT("ring-inside-release");
        store_release32(&slot_header(ring, slot)->tp_status, TP_STATUS_KERNEL);
        slot = following(ring, slot);
    }
    ring->taken = 0;
}

uint32_t ring_resync(struct ring *ring)
{
    uint32_t slot = ring->next;
    for (uint32_t skipped = 0; skipped < ring->geometry.slots; skipped++) {
        if ((load_relaxed32(&slot_header(ring, slot)->tp_status) & TP_STATUS_USER) != 0) {
            ring->next = slot;
            return skipped;
        }
        slot = following(ring, slot);
    }
    return 0;
}
