/* The interval engine's writer: what its files share. Private memory, control alone.
 *
 * A change is built as a new tree beside the old, from the leaves up (paint, build, rebuild);
 * the job remembers which pieces it took and which ones the new tree replaces, so that the one
 * store that follows commits everything, and a failure before it gives everything back.
 */
#ifndef RC_FIB_INTERVAL_BUILD_H
#define RC_FIB_INTERVAL_BUILD_H
#include "engines/engine.h"
#include "engines/interval/interval.h"

enum {
    INTERVAL_PAINTED = 2 * INTERVAL_ENTRIES + 1, /* each prefix begins one and ends one */
    INTERVAL_MERGED = INTERVAL_ENTRIES + LPM_RUN,
    INTERVAL_COLLAPSE = 24, /* a directory with no more prefixes than this becomes a chunk */
};

struct interval_pieces {
    struct arena_piece *piece;
    uint32_t n, max;
};

/* Made when a bank is opened (interval.c) and kept between changes for its memory alone. */
struct interval_job {
    struct fib_writer *writer;
    struct interval_pieces taken;    /* by this job: given back when it fails */
    struct interval_pieces replaced; /* retired when it has been published */
};

/* One row of the run: the two halves of the address, and what the prefix had before. */
struct interval_edit {
    uint64_t half[2];
    uint32_t group;
    uint32_t before;
    uint32_t length; /* 0..128 */
};

/* Prefixes below a place, each list sorted; escapes are found in the upper half alone. */
struct interval_set {
    struct interval_entry *routes;
    struct interval_entry *escapes;
    uint32_t n_routes, n_escapes;
};

/* Where a word stands: which trie, how deep, its first key, and what it inherits from above. */
struct interval_place {
    uint32_t half; /* 0: address bits 0..63, 1: bits 64..127 */
    uint32_t depth;
    uint64_t first;
    uint32_t inherited;
};

struct interval_painted {
    uint32_t n;
    uint32_t top;  /* all values or'ed: how wide a line must be */
    uint32_t deep; /* an escape is in it, or a prefix that ends below 32 bits */
    uint64_t end[INTERVAL_PAINTED + 1];
    uint16_t value[INTERVAL_PAINTED + 1];
};

static inline const struct interval_directory *
interval_directory_at(const struct fib_writer *writer, uint32_t word)
{
    return fib_block(writer, interval_block(word));
}

/* The writer's half of a chunk. */
static inline struct interval_rows *interval_rows_at(const struct fib_writer *writer, uint32_t word)
{
    uint32_t block = interval_block(word);
    const struct interval_narrow *line = fib_block(writer, block + (word & 1));
    return fib_block(writer, block + line->rows);
}

/* The place below slot `byte`. */
static inline struct interval_place interval_child(const struct interval_place *place,
                                                   uint32_t byte, uint32_t inherited)
{
    return (struct interval_place){place->half, place->depth + 8,
                                   place->first | (uint64_t)byte << (56 - place->depth), inherited};
}

/* paint.c: the intervals of a set; 0 when there are too many for one chunk. Notes
 * in each escape what is around it. */
uint32_t interval_paint(const struct interval_set *set, const struct interval_place *place,
                        struct interval_painted *painted);
/* One route of a set: where it stands, or stood, and its group; 0 when it is gone. */
struct interval_stroke {
    uint64_t key;
    uint32_t length, at, group;
};
/* The same after one route changed, from the intervals as they were; no escapes, nothing deep. */
uint32_t interval_repaint(const struct interval_set *set, const struct interval_place *place,
                          const struct interval_stroke *stroke,
                          const struct interval_painted *before, struct interval_painted *painted);

/* lines.c: how many lines these make; 0 when they are too many for one chunk. */
uint32_t interval_lines(const struct interval_painted *painted);
/* The intervals of a chunk of narrow or wide lines; `top` and `deep` are not looked for. */
void interval_read_lines(const struct fib_writer *writer, uint32_t word,
                         const struct interval_place *place, struct interval_painted *painted);
/* The chunk that was painted, as a word. 0: arena full. */
uint32_t interval_chunk(struct interval_job *job, const struct interval_set *set,
                        const struct interval_place *place,
                        const struct interval_painted *painted);

/* tree.c: 0 or -ENOSPC, the new word in *word. */
uint32_t interval_take(struct interval_job *job, uint32_t blocks);
int interval_replace(struct interval_job *job, uint32_t block, uint32_t blocks);
int interval_build(struct interval_job *job, const struct interval_set *set,
                   const struct interval_place *place, uint32_t *word);
uint32_t interval_put_directory(struct interval_job *job, const uint32_t *slot,
                                const uint32_t *own, uint32_t count);
/* Group of the longest own prefix that covers `byte`, else `inherited`. */
uint32_t interval_covering(const struct interval_directory *directory, uint32_t byte,
                           uint32_t inherited);
/* What slots [from, to) inherit from the own prefixes, else from above. */
void interval_paint_own(const uint32_t *own, uint32_t count, uint32_t inherited, uint32_t from,
                        uint32_t to, uint16_t *slot);
/* 1 when `slot` and `count` own prefixes are better one chunk; then interval_collapse makes it. */
int interval_collapsible(const struct fib_writer *writer, const uint32_t *slot, uint32_t count);
int interval_collapse(struct interval_job *job, const struct interval_place *place,
                      const uint32_t *slot, const uint32_t *own, uint32_t count, uint32_t *word);

/* edit.c: the tree at `old` with the edits made, for a place that inherited
 * `inherited` before. */
int interval_rebuild(struct interval_job *job, const struct interval_place *place, uint32_t old,
                     uint32_t inherited, struct interval_edit *edits, uint32_t n, uint32_t *word);

#endif
