/* Changes the interval engine's table: one word a run of rows.
 *
 *   1 go down to the tree that owns the front row; rows behind it that belong to the same tree,
 *     or to the directory above when that takes more of them, join the run (sorted tables bring
 *     hundreds at once)
 *   2 build the new tree beside the old one (edit.c)
 *   3 when withdrawals left the directory above almost nothing, make that one chunk too
 *   4 store one word: a slot, an escape's word, or for the first route the root
 *   5 retire what the new tree replaces
 *
 * Control alone. Until 4 everything can be given back, so -ENOSPC leaves no trace.
 */
#include "engines/interval/write/build.h"

#include <errno.h>
#include <string.h>

enum {
    AHEAD = 32, /* lines: most chunks have no more */
    STEPS = 2 * (INTERVAL_LEVELS + 1),
    INTERVAL_ROOT_BLOCKS = sizeof(struct interval_root) / FIB_BLOCK,
};

struct step {
    uint32_t *at;  /* the word; NULL while there is no root block */
    uint32_t word; /* what it says */
    struct interval_place place;
};

struct path {
    uint32_t n;
    struct step step[STEPS];
};

struct run {
    uint32_t n, removed;
    int64_t added; /* most routes it ever adds up to */
    struct interval_edit edit[LPM_RUN];
};

/* ---- 1: the path and the run ---- */

static int is_short(const struct route_row *row)
{
    return row->length <= INTERVAL_SHORT;
}

static uint32_t *root_word(struct interval_root *root, const struct route_row *row)
{
    return is_short(row) ? &root->short_word : &root->slot[row->prefix[0] << 8 | row->prefix[1]];
}

static int below_directory(const struct fib_writer *writer, const struct route_row *row,
                           struct step *step)
{
    struct interval_place *place = &step->place;
    if (row->length <= place->half * 64 + place->depth + 8)
        return 0;
    struct interval_directory *directory = fib_block(writer, interval_block(step->word));
    uint32_t byte = row->prefix[place->half * 8 + place->depth / 8];
    *place = interval_child(place, byte, interval_covering(directory, byte, place->inherited));
    step->at = &directory->slot[byte];
    return 1;
}

static int below_escape(const struct fib_writer *writer, const struct route_row *row,
                        struct step *step)
{
    if (row->length <= 64 || step->place.half == 1 || interval_kind(step->word) == INTERVAL_LEAF)
        return 0;
    struct interval_rows *rows = interval_rows_at(writer, step->word);
    uint64_t key = interval_half(row->prefix, 0);
    for (uint32_t i = 0; i < rows->escapes; i++) {
        if (rows->entry[i].key != key)
            continue;
        step->place = (struct interval_place){.half = 1};
        step->at = &rows->entry[i].value;
        return 1;
    }
    return 0;
}

static void find_path(const struct fib_writer *writer, const struct route_row *row,
                      struct path *path)
{
    uint32_t root = load_relaxed32(fib_root_word(writer->header, row->family));
    struct step step = {0};
    path->n = 0;
    if (root != 0)
        step.at = root_word(fib_block(writer, root), row);
    if (!is_short(row)) {
        step.place.depth = INTERVAL_SHORT;
        step.place.first = interval_half(row->prefix, 0) & ~interval_open(INTERVAL_SHORT);
    }
    do {
        step.word = step.at == NULL ? 0 : load_relaxed32(step.at);
        path->step[path->n++] = step;
    } while (interval_kind(step.word) == INTERVAL_DIRECTORY ? below_directory(writer, row, &step)
                                                            : below_escape(writer, row, &step));
}

/* All lines of the chunk at the path's end are read soon, and few are in the cache: asked for at
 * once, the search for the row does not wait for one after the other. */
static void ask_ahead(const struct fib_writer *writer, const struct path *path)
{
    uint32_t word = path->step[path->n - 1].word;
    if (interval_kind(word) < INTERVAL_NARROW_LINE)
        return;
    const uint8_t *chunk = fib_block(writer, interval_block(word));
    for (uint32_t i = 0; i < AHEAD; i++)
        __builtin_prefetch(chunk + i * FIB_BLOCK);
}

/* Whether the row belongs to the tree at this place, as `front` does. */
static int belongs(const struct interval_place *place, const struct route_row *front,
                   const struct route_row *row)
{
    uint32_t bits = place->half * 64 + place->depth;
    if (is_short(front))
        return is_short(row) && memcmp(row->prefix, front->prefix, bits / 8) == 0 &&
               (row->length > bits || bits == 0);
    return row->length > bits && memcmp(row->prefix, front->prefix, bits / 8) == 0;
}

static int ascends(const struct interval_edit *before, const struct interval_edit *edit)
{
    if (before->half[0] != edit->half[0])
        return before->half[0] < edit->half[0];
    if (before->half[1] != edit->half[1])
        return before->half[1] < edit->half[1];
    return before->length < edit->length;
}

static uint32_t count_run(const struct interval_place *place, const struct route_row *rows,
                          uint64_t n)
{
    uint32_t size = 1;
    while (size < n && size < LPM_RUN && belongs(place, rows, &rows[size]))
        size++;
    return size;
}

static void collect_run(const struct interval_place *place, const struct route_row *rows,
                        uint64_t n, struct run *run)
{
    run->n = 0;
    while (run->n < n && run->n < LPM_RUN && belongs(place, rows, &rows[run->n])) {
        const struct route_row *row = &rows[run->n];
        struct interval_edit *edit = &run->edit[run->n];
        edit->half[0] = interval_half(row->prefix, 0);
        edit->half[1] = interval_half(row->prefix, 1);
        edit->length = row->length;
        edit->group = row->nexthop;
        edit->before = 0;
        if (run->n > 0 && !ascends(edit - 1, edit))
            break;
        run->n++;
    }
}

/* The step to make anew: the last one, or the directory before it when rows go on there. */
static uint32_t choose_step(const struct path *path, const struct route_row *rows, uint64_t n)
{
    uint32_t last = path->n - 1;
    if (last == 0 || n < 2 || interval_kind(path->step[last - 1].word) != INTERVAL_DIRECTORY)
        return last;
    uint32_t here = count_run(&path->step[last].place, rows, n);
    if (here < n && here < LPM_RUN &&
        belongs(&path->step[last - 1].place, rows, &rows[here]))
        return last - 1;
    return last;
}

/* ---- 2 and 3: the new tree ---- */

static void roll_back(struct interval_job *job)
{
    for (uint32_t i = 0; i < job->taken.n; i++)
        arena_give(&job->writer->arena, job->taken.piece[i].block, job->taken.piece[i].size);
    job->taken.n = job->replaced.n = 0;
}

/* Directories above that the removal leaves almost nothing: *level goes up to what is left. */
static int collapse_above(struct interval_job *job, const struct path *path, uint32_t *level,
                          uint32_t *word)
{
    uint32_t slot[INTERVAL_SLOTS];
    while (*level > 0) {
        const struct step *above = &path->step[*level - 1];
        if (interval_kind(*word) == INTERVAL_DIRECTORY ||
            interval_kind(above->word) != INTERVAL_DIRECTORY)
            return 0;
        const struct interval_directory *directory =
            interval_directory_at(job->writer, above->word);
        if (directory->count > INTERVAL_COLLAPSE)
            return 0;
        memcpy(slot, directory->slot, sizeof slot);
        slot[path->step[*level].at - directory->slot] = *word;
        if (!interval_collapsible(job->writer, slot, directory->count))
            return 0;
        if (interval_replace(job, interval_block(above->word),
                             interval_directory_blocks(directory->count)) != 0 ||
            interval_collapse(job, &above->place, slot, directory->own, directory->count, word) !=
                0)
            return -ENOSPC;
        --*level;
    }
    return 0;
}

static int rebuild(struct interval_job *job, const struct path *path, uint32_t *level,
                   struct run *run, uint32_t *word)
{
    for (;;) {
        const struct step *step = &path->step[*level];
        if (interval_rebuild(job, &step->place, step->word, step->place.inherited, run->edit,
                             run->n, word) != 0)
            return -ENOSPC;
        if (*word != 0 || step->place.half == 0 || step->place.depth != 0)
            break;
        /* Nothing is left behind an escape: the chunk that has it is made again. */
        roll_back(job);
        --*level;
    }
    return 0;
}

/* Rows of the front that `room` more routes allow, by what each had before. */
static uint32_t fitting(const struct run *run, int64_t room, uint32_t *removed)
{
    *removed = 0;
    for (uint32_t i = 0; i < run->n; i++) {
        const struct interval_edit *edit = &run->edit[i];
        room -= (edit->before == 0 && edit->group != 0);
        room += (edit->before != 0 && edit->group == 0);
        *removed |= edit->before != 0 && edit->group == 0;
        if (room < 0)
            return i;
    }
    return run->n;
}

static int differs(const struct run *run)
{
    for (uint32_t i = 0; i < run->n; i++)
        if (run->edit[i].before != run->edit[i].group)
            return 1;
    return 0;
}

/* ---- 4 and 5 ---- */

/* The first route of all: a root with this word and nothing else. interval_apply took it first. */
static void publish_root(struct interval_job *job, const struct fib_change *change, uint32_t word)
{
    struct fib_writer *writer = job->writer;
    uint32_t block = job->taken.piece[0].block;
    uint64_t *words = fib_block(writer, block);
    for (uint32_t i = 0; i < sizeof(struct interval_root) / sizeof *words; i++)
        store_relaxed64(&words[i], 0);
    store_relaxed32(root_word((struct interval_root *)(void *)words, change->row), word);
    fib_store32(writer, change, fib_root_word(writer->header, change->row->family), block);
}

static void publish(struct interval_job *job, const struct path *path, uint32_t level,
                    const struct fib_change *change, uint32_t word)
{
    /* A walk asks the longer prefixes first. One that found none before such a prefix came must
     * not meet a short one that was changed after that: two epochs keep them apart (the rule of
     * layout/fib_layout.h, for a walk that goes from long to short). */
    if (is_short(change->row))
        fib_grace_since(job->writer, job->writer->routes_turned_at);
    if (path->step[level].at == NULL)
        publish_root(job, change, word);
    else
        fib_store32(job->writer, change, path->step[level].at, word);
    for (uint32_t i = 0; i < job->replaced.n; i++)
        fib_retire(job->writer, job->replaced.piece[i].block, job->replaced.piece[i].size);
    job->taken.n = job->replaced.n = 0;
}

/* Everything up to the store. 1: there is something to publish, 0: nothing, or an error. */
static int prepare(struct interval_job *job, const struct path *path, uint32_t *level,
                   struct run *run, uint32_t room, uint32_t *word)
{
    for (;;) {
        if (path->step[0].at == NULL && interval_take(job, INTERVAL_ROOT_BLOCKS) == 0)
            return -ENOSPC;
        if (rebuild(job, path, level, run, word) != 0)
            return -ENOSPC;
        uint32_t fits = fitting(run, room, &run->removed);
        if (fits == 0)
            return -E2BIG;
        if (!differs(run))
            return 0;
        if (fits == run->n)
            break;
        roll_back(job);
        run->n = fits;
    }
    if (run->removed && collapse_above(job, path, level, word) != 0)
        return -ENOSPC;
    return 1;
}

int interval_apply(struct fib_writer *writer, const struct route_row *rows, uint64_t n,
                   struct lpm_run *out)
{
    struct path path;
    struct run run;
    uint32_t word = 0;
    struct interval_job *job = writer->engine_state[family_index(rows->family)];
    find_path(writer, rows, &path);
    ask_ahead(writer, &path);
    uint32_t level = choose_step(&path, rows, n);
    collect_run(&path.step[level].place, rows, n, &run);
    int result = prepare(job, &path, &level, &run, out->room, &word);
    if (result <= 0) {
        roll_back(job);
        if (result < 0)
            return result;
    } else {
        const struct fib_change change = {
            .operation = FIB_OP_ROUTE, .row = rows, .rows = (uint16_t)run.n};
        publish(job, &path, level, &change, word);
    }
    out->taken = run.n;
    for (uint32_t i = 0; i < run.n; i++)
        out->before[i] = run.edit[i].before;
    return 0;
}
