/* Paints a node's 256 slots and finds their runs, portable. See compact_paint().
 *
 * Private memory alone; control's, but any process could.
 */
#include "engines/compact/write/build.h"

#include <string.h>

static void paint_routes(const struct compact_plan *plan, uint16_t *slot)
{
    for (uint32_t s = 0; s < COMPACT_SLOTS; s++)
        slot[s] = (uint16_t)plan->background;
    for (uint32_t i = 0; i < plan->count; i++) {
        uint32_t prefix = compact_entry_prefix(plan->entry[i]);
        uint16_t group = (uint16_t)compact_entry_group(plan->entry[i]);
        uint16_t *at = slot + (compact_first(prefix) >> plan->shift & (COMPACT_SLOTS - 1));
        uint32_t span = compact_span(prefix) >> plan->shift;
        uint64_t four = group * UINT64_C(0x0001000100010001);
        if (span == 1) {
            *at = group;
        } else if (span == 2) {
            memcpy(at, &four, 4);
        } else {
            for (uint32_t s = 0; s < span; s += 4)
                memcpy(at + s, &four, sizeof four);
        }
    }
}

static void paint_subs(const struct compact_plan *plan, uint16_t *slot)
{
    for (uint32_t k = 0; k < plan->subs; k++) {
        uint32_t s = compact_sub_slot(plan->sub[k]);
        plan->sub[k] = compact_sub(compact_sub_word(plan->sub[k]), s, slot[s]);
        slot[s] = (uint16_t)(COMPACT_SUB | k);
    }
}

/* Inlined into both compilations below. */
static inline __attribute__((always_inline)) void paint(const struct compact_plan *plan,
                                                        struct compact_runs *runs)
{
    uint16_t slots[COMPACT_SLOTS + 8], *slot = slots + 8, all = 0; /* slot[-1] is compared too */
    uint8_t differs[COMPACT_SLOTS];
    uint64_t starts[4] = {0};
    paint_routes(plan, slot);
    paint_subs(plan, slot);
    slot[-1] = slot[0];
    for (uint32_t s = 0; s < COMPACT_SLOTS; s++) /* both loops become vectors */
        all |= slot[s];
    for (uint32_t s = 0; s < COMPACT_SLOTS; s++)
        differs[s] = slot[s] != slot[(int32_t)s - 1];
    for (uint32_t b = 0; b < COMPACT_SLOTS / 8; b++) {
        uint64_t bytes = 0;
        for (uint32_t i = 0; i < 8; i++)
            bytes |= (uint64_t)differs[b * 8 + i] << (i * 8);
        starts[b / 8] |= (bytes * UINT64_C(0x0102040810204080) >> 56) << (b % 8 * 8);
    }
    compact_words(starts, runs);
    runs->wide = all >= 256;
    uint16_t *wide = (uint16_t *)(void *)runs->leaf;
    uint32_t n = 1;
    runs->leaf[0] = (uint8_t)slot[0];
    if (runs->wide)
        wide[0] = slot[0];
    for (uint32_t q = 0; q < 4; q++)
        for (uint64_t bits = starts[q]; bits != 0; bits &= bits - 1, n++) {
            uint16_t leaf = slot[q * 64 + (uint32_t)__builtin_ctzll(bits)];
            if (runs->wide)
                wide[n] = leaf;
            else
                runs->leaf[n] = (uint8_t)leaf;
        }
}

#if defined(__x86_64__)
__attribute__((target("popcnt,bmi,bmi2"))) static void
paint_popcnt(const struct compact_plan *plan, struct compact_runs *runs)
{
    paint(plan, runs);
}
#endif

static void paint_plain(const struct compact_plan *plan, struct compact_runs *runs)
{
    paint(plan, runs);
}

void compact_paint(const struct compact_plan *plan, struct compact_runs *runs)
{
#if defined(__x86_64__)
    if (cpu_popcnt()) {
        paint_popcnt(plan, runs);
        return;
    }
#endif
    paint_plain(plan, runs);
}
