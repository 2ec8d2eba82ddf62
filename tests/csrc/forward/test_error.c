/* Which ICMP errors a worker raises. Promises: the source is an address that may leave its link,
 * borrowed from another port when the ingress has none; without any, the error is counted as
 * lost; what may not be answered takes nobody's token. */
#include "forward/forward.h"
#include "frames.h"

enum { V4_UDP = 0, V4_LATER = 3, V6_UDP = 8, ERROR_SOURCE6 = ETHERNET_LENGTH + 8 };

static struct fib_port ports[FIB_MAX_PORTS];

int fib_read_port(struct fib_reader *reader, uint32_t index, struct fib_port *out)
{
    (void)reader;
    *out = ports[index];
    return 0;
}

static void give_address(uint32_t port, uint8_t first, uint8_t second, uint8_t last)
{
    struct fib_port_address *address = &ports[port].address[ports[port].addresses++];
    *address = (struct fib_port_address){.family = 6, .address = {first, second, [15] = last}};
}

static struct fib_reader reader;
static struct shape shapes[SHAPES];

static struct forwarder *new_forwarder(uint32_t burst)
{
    struct forwarder *f = calloc(1, sizeof *f);
    CHECK(f != NULL);
    f->fib = &reader;
    f->now_ns = 1;
    limiter_init(&f->limiter, 1, burst, 1, burst, 1, 1);
    return f;
}

static void raise(struct forwarder *f, const struct shape *shape)
{
    struct work work = {.origin = ORIGIN_RING, .ingress = 0};
    packet_parse(&work.packet, shape->bytes, shape->length, shape->length, NULL, STATION_HOST, 0,
                 0);
    CHECK_EQUAL(PACKET_FORWARD, work.packet.verdict);
    work.decision.error = ICMP_ERROR_TIME_EXCEEDED;
    forward_raise_error(f, &work);
}

static void test_the_source_is_never_link_local(void)
{
    static const uint8_t global[16] = {0x20, 1, [15] = 7};
    struct forwarder *f = new_forwarder(100);
    give_address(0, 0xfe, 0x80, 1); /* the ingress has nothing else */
    raise(f, &shapes[V6_UDP]);
    CHECK_EQUAL(0, f->errors);
    CHECK_EQUAL(1, f->stats.now.icmp_lost);

    give_address(3, 0xfe, 0x80, 3);
    give_address(3, 0x20, 1, 7);
    raise(f, &shapes[V6_UDP]);
    CHECK_EQUAL(1, f->errors);
    CHECK_EQUAL(1, f->stats.now.icmp_lost);
    CHECK_EQUAL(0, memcmp(f->error[0].frame + ERROR_SOURCE6, global, sizeof global));
    free(f);
}

static void test_what_may_not_be_answered_takes_no_token(void)
{
    struct forwarder *f = new_forwarder(1);
    ports[1].addresses = 1;
    ports[1].address[0] = (struct fib_port_address){.family = 4, .address = {10, 0, 0, 9}};
    for (int i = 0; i < 1000; i++)
        raise(f, &shapes[V4_LATER]); /* a later fragment is never answered */
    CHECK_EQUAL(0, f->errors);
    CHECK_EQUAL(0, f->stats.now.icmp_limited);
    raise(f, &shapes[V4_UDP]);
    CHECK_EQUAL(1, f->errors);
    raise(f, &shapes[V4_UDP]);
    CHECK_EQUAL(1, f->errors);
    CHECK_EQUAL(1, f->stats.now.icmp_limited);
    free(f);
}

int main(void)
{
    build_frames(shapes);
    test_the_source_is_never_link_local();
    test_what_may_not_be_answered_takes_no_token();
    return 0;
}
