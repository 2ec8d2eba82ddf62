/* The hold queue beside a slow model: an array in order of arrival. */
#include <errno.h>

#include "check.h"
#include "forward/hold.h"

enum { PACKETS = 24, EACH = 5, NEIGHBOURS = 9, STEPS = 40000 };

struct waiting { uint32_t number; uint32_t neighbour; uint8_t originated; };

static struct hold_queue queue;
static struct waiting model[PACKETS + 1];
static uint32_t modelled;

static void forget(uint32_t at)
{
    memmove(&model[at], &model[at + 1], (--modelled - at) * sizeof model[0]);
}

static uint32_t of_neighbour(uint32_t neighbour)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < modelled; i++)
        n += model[i].neighbour == neighbour;
    return n;
}

static uint32_t model_put(struct waiting newcomer)
{
    uint32_t evicted = 0;
    if (modelled == PACKETS) {
        evicted += !model[0].originated;
        forget(0);
    }
    model[modelled++] = newcomer;
    if (of_neighbour(newcomer.neighbour) > EACH) {
        uint32_t at = 0;
        while (model[at].neighbour != newcomer.neighbour)
            at++;
        evicted += !model[at].originated;
        forget(at);
    }
    return evicted;
}

static uint32_t number_of(uint32_t index)
{
    uint32_t number;
    memcpy(&number, queue.entry[index].packet.frame, sizeof number);
    return number;
}

static void same_order(void)
{
    uint32_t i = 0;
    for (uint32_t e = queue.oldest; e != HOLD_NONE; e = queue.entry[e].age.newer, i++) {
        CHECK(i < modelled);
        CHECK_EQUAL(model[i].number, number_of(e));
        CHECK_EQUAL(model[i].originated, queue.entry[e].originated);
    }
    CHECK_EQUAL(modelled, i);
    CHECK_EQUAL(modelled, queue.count);
}

static struct hold_key key_of(uint32_t neighbour)
{
    struct hold_key key = {.port = (uint16_t)(neighbour % 2), .family = 4};
    memcpy(key.address, &neighbour, sizeof neighbour);
    return key;
}

static void put(uint32_t number, uint64_t *random)
{
    uint8_t frame[64] = {0};
    struct packet packet = {.frame = frame, .length = sizeof frame, .send_length = 60};
    struct waiting newcomer = {number, (uint32_t)(next_random(random) % NEIGHBOURS),
                               next_random(random) % 8 == 0};
    struct hold_key key = key_of(newcomer.neighbour);
    struct hold_outcome outcome;
    uint32_t known = of_neighbour(newcomer.neighbour);
    if (modelled == PACKETS && model[0].neighbour == newcomer.neighbour)
        known--; /* the eviction may forget the neighbour first */
    memcpy(frame, &number, sizeof number);
    CHECK_EQUAL(0, hold_put(&queue, &packet, 1, newcomer.originated, &key, 10 + number, &outcome));
    CHECK_EQUAL(model_put(newcomer), outcome.evicted);
    if (known == 0)
        CHECK_EQUAL(1, outcome.ask); /* a new neighbour is always asked for */
}

static void take_out(uint64_t *random)
{
    uint32_t at = (uint32_t)(next_random(random) % modelled);
    uint32_t e = queue.oldest;
    for (uint32_t i = 0; i < at; i++)
        e = queue.entry[e].age.newer;
    CHECK_EQUAL(0, hold_remove(&queue, e));
    CHECK_EQUAL((uint64_t)-ENOENT, hold_remove(&queue, e)); /* twice is refused */
    forget(at);
}

int main(void)
{
    uint64_t random = 99;
    CHECK_EQUAL((uint64_t)-EINVAL, hold_open(&queue, 0, 4));
    CHECK_EQUAL((uint64_t)-EINVAL, hold_open(&queue, HOLD_PACKETS_MAX + 1, 4));
    CHECK_EQUAL(0, hold_open(&queue, PACKETS, EACH));
    for (uint32_t step = 0; step < STEPS; step++) {
        if (modelled > 0 && next_random(&random) % 5 < 2)
            take_out(&random);
        else
            put(step, &random);
        same_order();
    }
    while (modelled > 0)
        take_out(&random);
    same_order();
    CHECK_EQUAL((uint64_t)-ENOENT, hold_remove(&queue, HOLD_NONE));

    uint8_t frame[64] = {0};
    struct packet packet = {.frame = frame, .length = sizeof frame, .send_length = 60};
    struct hold_key key = key_of(1);
    struct hold_outcome outcome;
    CHECK_EQUAL(0, hold_put(&queue, &packet, 0, 0, &key, 1000, &outcome));
    CHECK_EQUAL(1, outcome.ask);
    CHECK_EQUAL(0, hold_ask(&queue, queue.oldest, 1000 + HOLD_ASK_AGAIN_NS - 1));
    CHECK_EQUAL(1, hold_ask(&queue, queue.oldest, 1000 + HOLD_ASK_AGAIN_NS));
    packet.send_length = packet.length + 1; /* not captured: refused, nothing read */
    CHECK_EQUAL((uint64_t)-EMSGSIZE, hold_put(&queue, &packet, 0, 0, &key, 1, &outcome));
    hold_close(&queue);
    return 0;
}
