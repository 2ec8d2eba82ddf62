/* Whole batches: valid and broken frames, random routes, full and dead egress ports, and workers
 * killed (longjmp) at random fault points. Promises: every committed block balances; at the end
 * rx is exactly what the ring was given; nothing is counted twice.
 *
 * The FIB is a stub that answers at random, so that every kind of answer meets every frame. */
#include <linux/if_packet.h>
#include <setjmp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "forward/doubt.h"
#include "forward/forward.h"
#include "frames.h"

enum { SLOT = 1024, MAC = 128, PORTS = 4 };

static uint64_t random_state = 4242;
static uint32_t chance(uint32_t n)
{
    return (uint32_t)(next_random(&random_state) % n);
}

/* ---- the FIB ---- */

static uint64_t generation = 1;
static uint64_t behind; /* of `message`: a reader that was outrun */
static uint64_t lookups, named;

int fib_lookup(struct fib_reader *reader, const struct fib_key *keys, struct fib_answer *answers,
               uint32_t n, uint64_t *at)
{
    (void)reader;
    *at = generation - behind;
    lookups++;
    if (chance(50) == 0)
        return -11; /* EAGAIN */
    for (uint32_t i = 0; i < n; i++) {
        CHECK(keys[i].family == 4 || keys[i].family == 6);
        answers[i] = (struct fib_answer){.kind = (uint8_t)chance(9),
                                         .state = (uint8_t)(chance(8) == 0 ? chance(4) : 1),
                                         .port = (uint16_t)(chance(30) == 0 ? 40 : chance(PORTS)),
                                         .mtu = (uint16_t)(chance(6) == 0 ? 100 : 1500),
                                         .adjacency = 1,
                                         .family = (uint8_t)(chance(2) * 4)};
        if (chance(3) != 0)
            answers[i].kind = FIB_KIND_FORWARD;
        answers[i].nexthop[0] = (uint8_t)chance(4);
    }
    named = *at;
    return 0;
}
uint64_t fib_generation(const struct fib_reader *reader)
{
    (void)reader;
    return generation;
}
int fib_read_stamp(const struct fib_reader *reader, uint64_t at, struct fib_stamp *out)
{
    (void)reader;
    *out = (struct fib_stamp){.generation = at, .t0 = 1};
    return 0;
}
int fib_read_port(struct fib_reader *reader, uint32_t index, struct fib_port *out)
{
    (void)reader;
    memset(out, 0, sizeof *out);
    if (index > 0) { /* port 0 has no address: it borrows one */
        out->addresses = 2;
        out->address[0].family = 4;
        out->address[1].family = 6;
        memset(out->address[0].address, 10, 4);
        memset(out->address[1].address, 0x20, 16);
    }
    return 0;
}

/* ---- the kernel ---- */

static struct ring_geometry geometry;
static uint8_t *memory;
static uint32_t head, queued;
static struct shape shapes[SHAPES];

static struct tpacket2_hdr *slot(uint32_t index)
{
    uint64_t block = index / geometry.slots_per_block, within = index % geometry.slots_per_block;
    return (void *)(memory + block * geometry.block_bytes + within * geometry.slot_bytes);
}

static void kernel_fills(void)
{
    struct tpacket2_hdr *header = slot(head);
    if ((header->tp_status & TP_STATUS_USER) != 0)
        return;
    const struct shape *shape = &shapes[chance(SHAPES)];
    uint8_t *frame = (uint8_t *)header + MAC;
    memcpy(frame - VNET_LENGTH, &shape->vnet, VNET_LENGTH);
    memcpy(frame, shape->bytes, shape->length);
    header->tp_mac = MAC;
    header->tp_len = shape->length;
    header->tp_snaplen = chance(20) == 0 ? chance(shape->length + 1) : shape->length;
    if (chance(3) == 0) /* broken somewhere in the headers */
        frame[chance(shape->length < 60 ? shape->length : 60)] = (uint8_t)chance(256);
    if (frame[12] == 0x86 && chance(4) == 0)
        frame[21] = 1; /* hop limit */
    memset(header->tp_padding, 0, sizeof header->tp_padding);
    header->tp_status = TP_STATUS_USER;
    head = head + 1 == geometry.slots ? 0 : head + 1;
    queued++;
}

/* ---- the worker ---- */

static struct stats_object object;
static struct forwarder *f;
static struct fib_reader reader;
static int sockets[PORTS][2];
static jmp_buf death;
static uint32_t until_death; /* fault points; 0: immortal */

void fault_point(const char *name)
{
    struct stats_block block;
    (void)name;
    CHECK_EQUAL(0, stats_read(&object, &block));
    CHECK_EQUAL(1, stats_balanced(&block));
    if (until_death != 0 && --until_death == 0)
        longjmp(death, 1);
}

static void born(void)
{
    uint32_t mortal = until_death;
    until_death = 0;
    f = calloc(1, sizeof *f);
    CHECK(f != NULL);
    CHECK_EQUAL(0, hold_open(&f->hold, 12, 2));
    CHECK_EQUAL(0, stats_attach(&f->stats, &object, sizeof object, 1));
    f->stats.ports = PORTS;
    event_open(&f->events, &object.life, -1, -1, 0);
    waits_open(&f->waits, &object);
    limiter_init(&f->limiter, 100000, 1000, 100000, 1000, 1, 1);
    f->fib = &reader;
    f->hold_timeout_ns = 20000;
    ring_open(&f->port[0].ring, memory, &geometry);
    ring_resume(&f->port[0].ring, &f->stats.now.port[0]);
    doubt_resume(f, 0);
    f->port[2].kind = PORT_KIND_HOST;
    for (uint32_t port = 0; port < FIB_MAX_PORTS; port++)
        f->fd[port] = port < PORTS ? sockets[port][0] : -1;
    f->open_ports = 7; /* those of them that have a socket */
    until_death = mortal;
}

static void buried(void)
{
    hold_close(&f->hold);
    free(f);
}

static uint32_t drained(int fd)
{
    static uint8_t bytes[70000];
    uint32_t n = 0;
    while (recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
        n++;
    return n;
}

static uint64_t left; /* packets that went out on the ports somebody reads */

static void works(void)
{
    uint32_t frames = 0;
    for (uint32_t n = chance(60); n > 0; n--)
        kernel_fills();
    do {
        f->port[0].kind = chance(2) ? PORT_KIND_HOST : PORT_KIND_NETWORK;
        frames = forward_frames(f, 0, 1 + chance(40));
        generation += chance(3) == 0;
        if (forward_held_due(f, UINT64_MAX / 2) && chance(4) == 0)
            forward_held(f);
        left += drained(sockets[0][1]) + drained(sockets[1][1]);
    } while (frames != 0);
}

/* Where readers lag, what a worker says it uses is what its last lookup named, not what it was told of;
 * a batch without a lookup uses what it was told of. The others say it when a batch begins. */
static void says_what_it_uses(uint32_t lags)
{
    uint64_t seen = 0, used = 0, older = 0;
    reader.lags = lags;
    object.seen.generation = f->generation = 0;
    generation += 100;
    for (int turn = 0; turn < 300; turn++) {
        generation += chance(2);
        behind = lags ? chance(4) : 0;
        lookups = named = 0;
        kernel_fills();
        if (forward_frames(f, 0, 1) == 0)
            continue;
        used = lags && lookups != 0 ? named : generation;
        seen = used > seen ? used : seen;
        CHECK_EQUAL(seen, object.seen.generation);
        older += seen < generation;
    }
    CHECK((older > 0) == (lags != 0) && seen > 100);
    reader.lags = 0;
    behind = 0;
}

int main(void)
{
    struct stats_block block;
    build_frames(shapes);
    CHECK_EQUAL(0, ring_geometry(200, SLOT, &geometry));
    memory = calloc(1, geometry.bytes);
    CHECK_EQUAL(0, stats_create(&object, sizeof object, 0, 1));
    for (uint32_t port = 0; port < PORTS; port++) {
        CHECK_EQUAL(0, socketpair(AF_UNIX, SOCK_DGRAM, 0, sockets[port]));
    }
    close(sockets[3][0]); /* a port whose socket is gone; 2 is never read, so it fills */
    sockets[3][0] = -1;
    for (int lives = 0; lives < 150; lives++) {
        until_death = 1 + chance(120);
        if (setjmp(death) == 0) {
            born();
            for (;;)
                works();
        }
        buried();
    }
    until_death = 0;
    born();
    works();
    says_what_it_uses(1);
    says_what_it_uses(0);
    forward_abandon(f, DROP_QUIESCED);
    CHECK_EQUAL(0, f->hold.count);
    CHECK_EQUAL(0, stats_read(&object, &block));
    CHECK_EQUAL(1, stats_balanced(&block));
    CHECK_EQUAL(queued, block.rx);
    CHECK_EQUAL(0, block.held);
    CHECK(block.forwarded > 1000 && block.delivered > 0 && block.icmp_sent > 0 && block.gso > 0);
    const uint32_t met[] = {DROP_NO_ROUTE, DROP_TTL_EXPIRED, DROP_TX_FULL, DROP_PORT_DOWN,
                            DROP_TOO_BIG, DROP_NO_NEIGHBOUR, DROP_FIB_UNAVAILABLE,
                            DROP_WORKER_RESTARTING, DROP_BAD_LENGTH, DROP_TRUNCATED,
                            DROP_NEIGHBOUR_QUEUE_FULL};
    for (uint32_t i = 0; i < sizeof met / sizeof met[0]; i++) {
        if (block.drops[met[i]] == 0)
            fprintf(stderr, "never: %s\n", drop_reason_name(met[i]));
        CHECK(block.drops[met[i]] > 0);
    }
    CHECK(left > 1000);
    buried();
    free(memory);
    return 0;
}
