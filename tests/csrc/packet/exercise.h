/* Everything that is ever done to a frame, with the invariants that hold for any input.
 *
 * Use: exercise(bytes, captured, wire, vnet, station, host_port, lead). The frame is copied into
 * memory of exactly `captured` bytes, outputs get exactly the room they are told of, so that
 * AddressSanitizer sees a stray byte; CHECK aborts when an invariant breaks.
 */
#ifndef RC_TEST_EXERCISE_H
#define RC_TEST_EXERCISE_H
#include "check.h"
#include "fib/fib.h"
#include "layout/stats_layout.h"
#include "packet/checksum.h"
#include "packet/packet.h"

static inline void check_record(const struct packet *p, int verdict)
{
    CHECK_EQUAL(verdict, p->verdict);
    CHECK(verdict >= PACKET_FORWARD && verdict <= PACKET_LOCAL);
    CHECK((verdict == PACKET_DROP || verdict == PACKET_LOCAL) == (p->drop != DROP_NONE));
    CHECK(p->drop < DROP_REASONS);
    CHECK(p->family == 0 || p->family == 4 || p->family == 6);
    CHECK(p->l3 <= p->length || p->l3 == ETHERNET_LENGTH);
    CHECK(p->l4 == 0 || p->l4 + p->l4_header <= p->length);
    CHECK(p->send_length <= p->wire_length);
    if (verdict == PACKET_FORWARD) {
        CHECK(p->family != 0 && p->l3_length >= 20);
        CHECK_EQUAL(p->l3 + p->l3_length, p->send_length);
        CHECK(p->send_length <= p->length);
    }
    if (p->fragment == FRAGMENT_LATER)
        CHECK(p->l4 == 0 && p->source_port == 0);
}

static inline void check_rewrite(const struct packet *p)
{
    static const uint8_t source[6] = {2, 1, 1, 1, 1, 1}, target[6] = {2, 2, 2, 2, 2, 2};
    uint8_t *out = malloc(PACKET_REWRITE_ROOM);
    CHECK(out != NULL);
    uint32_t built = packet_rewrite(p, target, source, out, 1);
    CHECK(built <= PACKET_REWRITE_ROOM);
    CHECK((built == 0) == (p->family == 0));
    if (p->verdict == PACKET_FORWARD) {
        CHECK(built - VNET_LENGTH <= p->send_length);
        CHECK(memcmp(out + VNET_LENGTH, target, 6) == 0);
        const uint8_t *header = out + VNET_LENGTH + ETHERNET_LENGTH;
        if (p->family == 4)
            CHECK_EQUAL(0, checksum_finish(checksum_partial(
                               header, built - VNET_LENGTH - ETHERNET_LENGTH, 0)));
        CHECK_EQUAL((uint8_t)(p->ttl - 1), header[p->family == 4 ? 8 : 7]);
    }
    free(out);
}

/* What was built has to be a packet that this parser itself lets through. */
static inline void check_icmp(const struct packet *p, uint32_t room)
{
    static const uint8_t source[16] = {192, 0, 2, 1, [15] = 1};
    for (uint32_t what = 0; what <= ICMP_ERROR_TIME_EXCEEDED + 1; what++) {
        uint8_t *memory = malloc(ETHERNET_LENGTH + room + 1);
        CHECK(memory != NULL);
        uint8_t *out = malloc(room + (room == 0));
        CHECK(out != NULL);
        uint32_t length = icmp_build(p, what, 1400, source, out, room);
        CHECK(length <= room && length <= (p->family == 4 ? 576u : 1280u));
        if (length > 0) {
            CHECK(icmp_may_answer(p));
            CHECK(p->verdict == PACKET_FORWARD && p->fragment != FRAGMENT_LATER);
            memset(memory, 0, ETHERNET_LENGTH);
            memcpy(memory + 12, p->frame + 12, 2);
            memcpy(memory + ETHERNET_LENGTH, out, length);
            struct packet again;
            CHECK_EQUAL(PACKET_FORWARD,
                        packet_parse(&again, memory, ETHERNET_LENGTH + length,
                                     ETHERNET_LENGTH + length, NULL, STATION_HOST, 1, 0));
            CHECK(memcmp(again.target, p->source, 16) == 0);
            CHECK_EQUAL(length, again.l3_length);
            /* RFC 1122 3.2.2: nothing about an error */
            CHECK_EQUAL(0, icmp_build(&again, what, 0, source, out, room));
        }
        free(out);
        free(memory);
    }
}

static inline void check_finish(const struct packet *p, uint32_t room)
{
    uint8_t *out = malloc(room + (room == 0));
    CHECK(out != NULL);
    uint32_t written = packet_finish_checksum(p, out, room);
    CHECK(written <= room && written <= p->l3_length);
    if (p->verdict == PACKET_FORWARD)
        CHECK(written > 0 || room == 0);
    free(out);
}

static inline void exercise(const uint8_t *bytes, uint32_t captured, uint32_t wire,
                            const struct vnet_header *vnet, uint32_t station, int host_port,
                            uint32_t lead)
{
    void *block, *vnet_block = NULL;
    const uint8_t *frame = exact_copy(bytes, captured, lead, &block);
    const uint8_t *odd = vnet ? exact_copy(vnet, VNET_LENGTH, 1, &vnet_block) : NULL;
    struct packet p;
    int verdict = packet_parse(&p, frame, captured, wire, odd, station, 0x5eed, host_port);
    check_record(&p, verdict);
    check_rewrite(&p);
    CHECK(packet_wire_size(&p) <= p.l3_length);
    CHECK_EQUAL(0, packet_too_big(&p, p.l3_length));
    check_finish(&p, 2048);
    check_finish(&p, captured % 97);
    check_icmp(&p, ICMP_ROOM);
    check_icmp(&p, captured % 97);
    CHECK(captured == 0 || memcmp(frame, bytes, captured) == 0); /* ring memory is never written */
    free(block);
    free(vnet_block);
}

#endif
