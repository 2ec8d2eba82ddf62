/* Frames that end the worker that reads them, among frames that do not, and workers that are killed
 * from outside (longjmp) at random fault points besides. Promises: a frame that kills costs two
 * workers, is set aside by the third with its bytes, and is the only one that is lost; at every
 * step the committed block balances; without teach a marked frame is a frame like another. */
#include <linux/if_packet.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>

#include "check.h"
#include "forward/doubt.h"
#include "forward/poison.h"

enum { SLOT = 1024, MAC = 128, FRAME = 120, BATCH = 32 };

int fib_lookup(struct fib_reader *reader, const struct fib_key *keys, struct fib_answer *answers,
               uint32_t n, uint64_t *at)
{
    (void)reader, (void)keys, (void)answers, (void)n, (void)at;
    CHECK(0); /* there is no FIB: every frame is one drop */
    return 0;
}
uint64_t fib_generation(const struct fib_reader *reader)
{
    return reader == NULL ? 0 : 1;
}
int fib_read_stamp(const struct fib_reader *reader, uint64_t at, struct fib_stamp *out)
{
    (void)reader, (void)at, (void)out;
    return -1;
}
int fib_read_port(struct fib_reader *reader, uint32_t index, struct fib_port *out)
{
    (void)reader, (void)index, (void)out;
    return -1;
}

static struct ring_geometry geometry;
static uint8_t *memory;
static uint32_t head, queued;
static struct stats_object object;
static struct forwarder *f;
static sigjmp_buf death;
static uint32_t until_death;

void fault_point(const char *name)
{
    struct stats_block block;
    (void)name;
    CHECK_EQUAL(0, stats_read(&object, &block));
    CHECK_EQUAL(1, stats_balanced(&block));
    if (until_death != 0 && --until_death == 0)
        siglongjmp(death, 2);
}

static void aborted(int number)
{
    (void)number;
    siglongjmp(death, 1);
}

static void kernel_fills(const char *word, uint32_t number)
{
    uint64_t block = head / geometry.slots_per_block, within = head % geometry.slots_per_block;
    struct tpacket2_hdr *header =
        (void *)(memory + block * geometry.block_bytes + within * geometry.slot_bytes);
    CHECK((header->tp_status & TP_STATUS_USER) == 0);
    uint8_t *frame = (uint8_t *)header + MAC;
    memset(frame - VNET_LENGTH, 0, VNET_LENGTH + FRAME);
    frame[12] = 8;
    memcpy(frame + 50, word, strlen(word));
    memcpy(frame + 100, &number, sizeof number);
    header->tp_mac = MAC;
    header->tp_len = header->tp_snaplen = FRAME;
    memset(header->tp_padding, 0, sizeof header->tp_padding);
    header->tp_status = TP_STATUS_USER;
    head = head + 1 == geometry.slots ? 0 : head + 1;
    queued++;
}

static void born(uint32_t teach)
{
    uint32_t mortal = until_death;
    until_death = 0;
    f = calloc(1, sizeof *f);
    CHECK(f != NULL);
    CHECK_EQUAL(0, hold_open(&f->hold, 4, 2));
    CHECK_EQUAL(0, stats_attach(&f->stats, &object, sizeof object, 1));
    for (uint32_t port = 0; port < FIB_MAX_PORTS; port++)
        f->fd[port] = -1;
    event_open(&f->events, &object.life, -1, -1, 0);
    f->teach = teach;
    f->stats.now.port[0].ring_identity = 7;
    ring_open(&f->port[0].ring, memory, &geometry);
    (void)ring_resume(&f->port[0].ring, &f->stats.now.port[0]);
    until_death = mortal;
    doubt_resume(f, 0);
}

/* Until the ring is empty; how many workers it took. */
static uint32_t lives(uint32_t teach, uint32_t (*mortality)(void))
{
    for (volatile uint32_t n = 1;; n++) {
        until_death = mortality == NULL ? 0 : mortality();
        if (sigsetjmp(death, 1) == 0) {
            born(teach);
            while (forward_frames(f, 0, BATCH) != 0)
                ;
            until_death = 0;
        }
        bool done = until_death == 0 && !ring_ready(&f->port[0].ring) && f->port[0].ring.taken == 0;
        hold_close(&f->hold);
        free(f);
        if (done && object.doubt.port == 0)
            return n;
        CHECK(n < 10000);
    }
}

static struct stats_block counted(void)
{
    struct stats_block block;
    CHECK_EQUAL(0, stats_read(&object, &block));
    CHECK_EQUAL(1, stats_balanced(&block));
    CHECK_EQUAL(queued, block.rx);
    return block;
}

/* At every place in a batch, and two of them in one. */
static void two_die_for_each_frame_that_kills(void)
{
    for (uint32_t at = 0; at < BATCH + 2; at++) {
        uint64_t before = counted().drops[DROP_SET_ASIDE];
        for (uint32_t i = 0; i < 2 * BATCH; i++)
            kernel_fills(i == at || i == at + 7 ? POISON_ABORT : "good", i);
        bool one_batch = at / BATCH == (at + 7) / BATCH; /* that of the first death names both */
        CHECK_EQUAL(one_batch ? 4 : 5, lives(1, NULL));
        CHECK_EQUAL(before + 2, counted().drops[DROP_SET_ASIDE]);
        for (uint32_t k = 0; k < 2; k++) {
            const struct frame_aside *aside = &object.aside[(before + k) % ASIDE_FRAMES];
            uint32_t number;
            memcpy(&number, aside->bytes + 100, sizeof number);
            CHECK_EQUAL(at + 7 * k, number);
            CHECK(aside->length == FRAME && aside->captured == FRAME && aside->port == 0);
        }
    }
}

static void without_teach_nothing_happens(void)
{
    uint64_t before = counted().drops[DROP_SET_ASIDE];
    for (uint32_t i = 0; i < BATCH; i++)
        kernel_fills(POISON_ABORT, i);
    CHECK_EQUAL(1, lives(0, NULL));
    CHECK_EQUAL(before, counted().drops[DROP_SET_ASIDE]);
}

static uint64_t random_state = 99;
static uint32_t at_random(void)
{
    return 40 + (uint32_t)(next_random(&random_state) % 400);
}

/* Who is killed from outside, but not at each step anew, loses nothing: at most it is careful. */
static void killed_from_outside_nothing_is_set_aside(void)
{
    for (uint32_t turn = 0; turn < 200; turn++) {
        uint64_t before = counted().drops[DROP_SET_ASIDE];
        for (uint32_t i = 0; i < 100; i++)
            kernel_fills("good", i);
        (void)lives(1, at_random);
        CHECK(counted().drops[DROP_SET_ASIDE] <= before + 1);
    }
}

/* Killed at every single step of setting a frame aside: once it is counted, and once only. */
static uint32_t step;
static uint32_t once(void)
{
    uint32_t now = step;
    step = 0;
    return now;
}

static void one_dies_of_it(void)
{
    until_death = 0;
    if (sigsetjmp(death, 1) == 0) {
        born(1);
        (void)forward_frames(f, 0, BATCH);
        CHECK(0);
    }
    hold_close(&f->hold);
    free(f);
}

static void killed_while_it_sets_aside(void)
{
    uint32_t innocent = 0;
    for (uint32_t at = 1; at < 60; at++) {
        uint64_t before = counted().drops[DROP_SET_ASIDE];
        kernel_fills(POISON_ABORT, 1);
        one_dies_of_it();
        one_dies_of_it();
        kernel_fills("good", 2);
        step = at;
        (void)lives(1, once);
        uint64_t set_aside = counted().drops[DROP_SET_ASIDE] - before;
        uint32_t number;
        memcpy(&number, object.aside[before % ASIDE_FRAMES].bytes + 100, sizeof number);
        CHECK_EQUAL(1, number);
        CHECK(set_aside == 1 || set_aside == 2); /* 2: killed with the next one alone in its hands */
        innocent += set_aside == 2;
    }
    CHECK(innocent < 12);
}

int main(void)
{
    struct sigaction action = {.sa_handler = aborted, .sa_flags = SA_NODEFER};
    CHECK_EQUAL(0, sigaction(SIGABRT, &action, NULL));
    CHECK_EQUAL(0, ring_geometry(200, SLOT, &geometry));
    memory = calloc(1, geometry.bytes);
    CHECK_EQUAL(0, stats_create(&object, sizeof object, 0, 1));
    two_die_for_each_frame_that_kills();
    without_teach_nothing_happens();
    killed_from_outside_nothing_is_set_aside();
    killed_while_it_sets_aside();
    free(memory);
    return 0;
}
