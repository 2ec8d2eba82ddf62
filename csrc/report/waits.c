/* Rows of addresses that packets wait for: one writer, one reader, no lock. See waits.h. */
#include "report/waits.h"

#include <string.h>

void waits_open(struct wait_table *table, struct stats_object *object)
{
    table->row = object->wait;
    table->next = 0;
    table->unused = 0;
}

static bool is_of(const struct stats_wait *row, uint64_t where, const uint64_t address[2])
{
    return row->where == where && row->address[0] == address[0] && row->address[1] == address[1];
}

void waits_note(struct wait_table *table, uint16_t port, uint8_t family, const uint8_t address[16],
                uint64_t now_ns)
{
    uint64_t words[2], where = (uint64_t)port | (uint64_t)family << 16;
    memcpy(words, address, sizeof words);
    uint32_t at = 0;
    while (at < STATS_WAITS && !is_of(&table->row[at], where, words))
        at++;
    if (at == STATS_WAITS) {
        at = table->next;
        table->next = (at + 1) % STATS_WAITS;
    }
    struct stats_wait *row = &table->row[at];
    uint64_t before = load_relaxed64(&row->asked_ns);
    store_relaxed64(&row->asked_ns, 0);
    /* A reader that meets one of the new words meets the 0 before it, too. */
    atomic_thread_fence(memory_order_release);
    store_relaxed64(&row->address[0], words[0]);
    store_relaxed64(&row->address[1], words[1]);
    store_relaxed64(&row->where, where);
    store_release64(&row->asked_ns, now_ns == before ? now_ns + 1 : now_ns);
}

uint32_t waits_read(const struct stats_object *object, uint64_t known[STATS_WAITS],
                    struct stats_wait out[STATS_WAITS])
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < STATS_WAITS; i++) {
        const struct stats_wait *row = &object->wait[i];
        uint64_t asked = load_acquire64(&row->asked_ns);
        if (asked == 0 || asked == known[i])
            continue;
        struct stats_wait *to = &out[n];
        memset(to, 0, sizeof *to);
        to->asked_ns = asked;
        to->address[0] = load_relaxed64(&row->address[0]);
        to->address[1] = load_relaxed64(&row->address[1]);
        to->where = load_relaxed64(&row->where);
        atomic_thread_fence(memory_order_acquire);
        if (load_relaxed64(&row->asked_ns) != asked)
            continue; /* written meanwhile: the next look has it */
        known[i] = asked;
        n++;
    }
    return n;
}
