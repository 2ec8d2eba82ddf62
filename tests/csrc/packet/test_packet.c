/* Every shape of frame, cut at every length, at odd addresses, in memory of exactly its size. */
#include "exercise.h"
#include "frames.h"

static struct shape shapes[SHAPES];

static void whole_frames_are_forwarded(void)
{
    for (uint32_t i = 0; i < SHAPES; i++) {
        const struct shape *s = &shapes[i];
        struct packet p;
        uint32_t n = s->length;
        int verdict = packet_parse(&p, s->bytes, n, n, &s->vnet, STATION_HOST, 1, 0);
        if (verdict != PACKET_FORWARD)
            fprintf(stderr, "%s: verdict %d, drop %d\n", s->name, verdict, p.drop);
        CHECK_EQUAL(PACKET_FORWARD, verdict);
        CHECK_EQUAL(64, p.ttl);
        CHECK_EQUAL(0x2e, p.traffic_class);
    }
}

static void cut_frames_are_never_forwarded(void)
{
    for (uint32_t i = 0; i < SHAPES; i++) {
        const struct shape *s = &shapes[i];
        struct packet whole, p;
        packet_parse(&whole, s->bytes, s->length, s->length, &s->vnet, STATION_HOST, 1, 0);
        for (uint32_t n = 0; n < whole.send_length; n++) {
            /* The sender cut it: the wire carried n bytes. */
            int verdict = packet_parse(&p, s->bytes, n, n, &s->vnet, STATION_HOST, 1, 0);
            CHECK_EQUAL(PACKET_DROP, verdict);
            CHECK_EQUAL(DROP_BAD_LENGTH, p.drop);
            /* The slot cut it: the wire carried it whole. */
            verdict = packet_parse(&p, s->bytes, n, s->length, &s->vnet, STATION_HOST, 1, 0);
            CHECK(verdict == PACKET_DROP || verdict == PACKET_LOCAL);
            CHECK_EQUAL(n < ETHERNET_LENGTH ? DROP_BAD_LENGTH : DROP_TRUNCATED, p.drop);
        }
    }
}

static void every_cut_at_every_alignment_stays_inside(void)
{
    for (uint32_t i = 0; i < SHAPES; i++) {
        const struct shape *s = &shapes[i];
        for (uint32_t n = 0; n <= s->length; n++) {
            exercise(s->bytes, n, n, &s->vnet, STATION_HOST, 0, n % 4);
            exercise(s->bytes, n, s->length, &s->vnet, STATION_HOST, (int)(n % 2), (n + 1) % 4);
        }
    }
}

/* A vnet header is the kernel's word, but a frame must not be read outside it on anybody's word. */
static void lying_vnet_headers_are_harmless(void)
{
    static const uint16_t numbers[] = {0, 1, 13, 14, 33, 34, 50, 60, 100, 0x7fff, 0xffff};
    enum { N = sizeof numbers / sizeof numbers[0] };
    static const uint8_t types[] = {0, 1, 3, 4, 5, 0x81, 0xff};
    for (uint32_t i = 0; i < SHAPES; i++)
        for (uint32_t t = 0; t < sizeof types; t++)
            for (uint32_t a = 0; a < N; a++)
                for (uint32_t b = 0; b < N; b++) {
                    struct vnet_header v = {VNET_NEEDS_CSUM, types[t], 0xffff, numbers[b],
                                            numbers[a], numbers[b]};
                    exercise(shapes[i].bytes, shapes[i].length, shapes[i].length, &v, STATION_HOST,
                             0, 1);
                }
}

int main(void)
{
    build_frames(shapes);
    whole_frames_are_forwarded();
    cut_frames_are_never_forwarded();
    every_cut_at_every_alignment_stays_inside();
    lying_vnet_headers_are_harmless();
    return 0;
}
