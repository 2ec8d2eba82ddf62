/* A ring between a model of the kernel and workers that are killed at random steps.
 *
 * The kernel fills slots in order with numbered frames, zeroes the mark before it hands a slot
 * over, and drops when its next slot is not free. Promise: whatever is killed when, the
 * committed log holds each queued frame exactly once, in order, and no slot is lost to the ring.
 */
#include <linux/if_packet.h>

#include "check.h"
#include "packet/packet.h"
#include "port/ring.h"

enum { SLOT = 512, MAC = 128, LOG = 1 << 20, BATCH = 7 };

static struct ring_geometry geometry;
static uint8_t *memory;
static uint32_t head;           /* the kernel's next slot */
static uint32_t queued, dropped; /* frames it took and refused */

static struct port_counters committed; /* what the stats object would say */
static uint32_t committed_frames;

static struct tpacket2_hdr *slot(uint32_t index)
{
    uint64_t block = index / geometry.slots_per_block, within = index % geometry.slots_per_block;
    return (void *)(memory + block * geometry.block_bytes + within * geometry.slot_bytes);
}

static void kernel_fills(void)
{
    struct tpacket2_hdr *header = slot(head);
    if ((header->tp_status & TP_STATUS_USER) != 0) {
        dropped++;
        return;
    }
    memcpy((uint8_t *)header + MAC, &queued, sizeof queued);
    header->tp_mac = MAC;
    header->tp_snaplen = sizeof queued;
    header->tp_len = sizeof queued;
    memset(header->tp_padding, 0, sizeof header->tp_padding);
    header->tp_status = TP_STATUS_USER;
    head = head + 1 == geometry.slots ? 0 : head + 1;
    queued++;
}

static int steps_to_live; /* of the current worker; it is killed when this runs out */
static int dead;

static int dies(void)
{
    dead |= steps_to_live-- <= 0;
    return dead;
}

void fault_point(const char *name)
{
    (void)name;
}

/* ring_release() one slot at a time, so that death can come between. */
static void release_some(struct ring *ring)
{
    struct ring part = *ring;
    for (uint32_t i = 0; i < ring->taken && !dies(); i++) {
        part.taken = 1;
        ring_release(&part);
        part.first = part.first + 1 == geometry.slots ? 0 : part.first + 1;
    }
    ring->taken = 0;
}

static void batch(struct ring *ring)
{
    struct ring_frame frame;
    uint32_t numbers[BATCH], n = 0;
    ring_begin(ring);
    while (n < BATCH && !dies() && ring_take(ring, &frame)) {
        CHECK_EQUAL(sizeof numbers[0], frame.captured);
        memcpy(&numbers[n++], frame.frame, sizeof numbers[0]);
    }
    if (dead || dies() || n == 0)
        return;
    for (uint32_t i = 0; i < n; i++) /* the commit: one step */
        CHECK_EQUAL(committed_frames + i, numbers[i]);
    committed_frames += n;
    committed.ring_first = ring->first;
    committed.ring_next = ring->next;
    committed.ring_mark = ring->mark;
    release_some(ring);
}

static void life(uint64_t *random, int immortal)
{
    struct ring ring;
    ring_open(&ring, memory, &geometry);
    ring_resume(&ring, &committed);
    steps_to_live = immortal ? INT32_MAX : (int)(next_random(random) % 60);
    dead = 0;
    while (!dead && (!immortal || ring_ready(&ring))) {
        for (uint64_t n = immortal ? 0 : next_random(random) % 12; n > 0; n--)
            kernel_fills();
        batch(&ring);
    }
}

static void killed_at_random(uint64_t seed, uint32_t slots)
{
    uint64_t random = seed;
    CHECK_EQUAL(0, ring_geometry(slots, SLOT, &geometry));
    memory = calloc(1, geometry.bytes);
    CHECK(memory != NULL);
    head = queued = dropped = committed_frames = 0;
    memset(&committed, 0, sizeof committed);
    for (int lives = 0; lives < 300; lives++) {
        life(&random, 0);
        for (uint64_t n = next_random(&random) % 40; n > 0; n--)
            kernel_fills(); /* while nobody works */
    }
    life(&random, 1);
    CHECK_EQUAL(queued, committed_frames);
    for (uint32_t i = 0; i < geometry.slots; i++)
        CHECK_EQUAL(0, slot(i)->tp_status & TP_STATUS_USER);
    free(memory);
}

static void senseless_offsets_are_no_frame(void)
{
    struct ring ring;
    struct ring_frame frame;
    const uint16_t macs[] = {0, 8, SLOT - 1, SLOT, SLOT + 1, UINT16_MAX};
    CHECK_EQUAL(0, ring_geometry(16, SLOT, &geometry));
    memory = calloc(1, geometry.bytes);
    ring_open(&ring, memory, &geometry);
    ring_begin(&ring);
    for (uint32_t i = 0; i < sizeof macs / sizeof macs[0]; i++) {
        slot(i)->tp_mac = macs[i];
        slot(i)->tp_snaplen = 64;
        slot(i)->tp_len = 64;
        slot(i)->tp_status = TP_STATUS_USER;
        CHECK_EQUAL(1, ring_take(&ring, &frame));
        CHECK_EQUAL(0, frame.captured);
        CHECK(frame.vnet >= memory && frame.vnet + VNET_LENGTH <= memory + geometry.bytes);
    }
    CHECK_EQUAL(0, ring_take(&ring, &frame));
    slot(9)->tp_status = TP_STATUS_USER;
    CHECK_EQUAL(3, ring_resync(&ring));
    CHECK_EQUAL(9, ring.next);
    free(memory);
}

static void foreign_counters_are_ignored(void)
{
    struct ring ring;
    struct port_counters foreign = {.ring_next = 1u << 30, .ring_first = 3, .ring_mark = 7};
    CHECK_EQUAL(0, ring_geometry(16, SLOT, &geometry));
    memory = calloc(1, geometry.bytes);
    ring_open(&ring, memory, &geometry);
    CHECK_EQUAL(0, ring_resume(&ring, &foreign));
    CHECK_EQUAL(0, ring.next);
    free(memory);
}

int main(void)
{
    for (uint64_t seed = 1; seed <= 40; seed++)
        killed_at_random(seed * 7919, 2 + (uint32_t)seed * 8);
    senseless_offsets_are_no_frame();
    foreign_counters_are_ignored();
    CHECK(ring_geometry(1, SLOT, &geometry) < 0);
    CHECK(ring_geometry(64, SLOT + 8, &geometry) < 0);
    CHECK(ring_geometry(64, RING_SLOT_MAX + 16, &geometry) < 0);
    CHECK(ring_geometry(RING_SLOTS_MAX, RING_SLOT_MAX, &geometry) < 0);
    CHECK_EQUAL(0, ring_geometry(256, 69632, &geometry));
    CHECK_EQUAL(0, geometry.block_bytes & (geometry.block_bytes - 1));
    CHECK(geometry.slots >= 256 && geometry.slots == geometry.blocks * geometry.slots_per_block);
    return 0;
}
