/* Edits a tree of the interval engine: old word + sorted edits -> new word, nothing in place.
 *
 * Only what an edit or an inherited answer touches is made again; the other slots of a directory
 * are taken over as they are. The low half of an address is a tree of its own behind an escape
 * and is edited by the same code. Control alone.
 */
#include "engines/interval/write/build.h"

#include <errno.h>
#include <string.h>

static uint32_t length_of(const struct interval_edit *edit, uint32_t half)
{
    return edit->length - half * 64;
}

static int order(uint64_t key, uint32_t length, const struct interval_entry *entry)
{
    if (key != entry->key)
        return key < entry->key ? -1 : 1;
    return length < entry->length ? -1 : length > entry->length;
}

/* The first entry from `at` on that is not before this prefix. */
static uint32_t not_before(const struct interval_entry *entry, uint32_t at, uint32_t n,
                           uint64_t key, uint32_t length)
{
    while (at < n) {
        uint32_t middle = (at + n) / 2;
        if (order(key, length, &entry[middle]) > 0)
            at = middle + 1;
        else
            n = middle;
    }
    return at;
}

/* ---- chunks ---- */

/* Routes of the chunk with the edits of this half; fills each edit's `before`. */
static uint32_t merge_routes(const struct interval_entry *old, uint32_t n_old, uint32_t half,
                             struct interval_edit *edits, uint32_t n, struct interval_entry *out)
{
    uint32_t at = 0, made = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct interval_edit *edit = &edits[i];
        uint32_t length = length_of(edit, half);
        if (length > 64)
            continue;
        uint32_t next = not_before(old, at, n_old, edit->half[half], length);
        memcpy(out + made, old + at, (next - at) * sizeof *out);
        made += next - at;
        at = next;
        edit->before = 0;
        if (at < n_old && order(edit->half[half], length, &old[at]) == 0)
            edit->before = old[at++].value;
        if (edit->group != 0)
            out[made++] = (struct interval_entry){.key = edit->half[half], .value = edit->group,
                                                  .length = (uint8_t)length};
    }
    memcpy(out + made, old + at, (n_old - at) * sizeof *out);
    return made + n_old - at;
}

/* Escapes likewise: all edits below one /64 go to the tree behind its escape. */
static int merge_escapes(struct interval_job *job, const struct interval_entry *old,
                         uint32_t n_old, struct interval_edit *edits, uint32_t n,
                         struct interval_entry *out, uint32_t *made)
{
    const struct interval_place low = {.half = 1};
    uint32_t at = 0;
    *made = 0;
    for (uint32_t i = 0; i < n;) {
        uint64_t key = edits[i].half[0];
        uint32_t end = i;
        if (edits[i].length <= 64) {
            i++;
            continue;
        }
        while (end < n && edits[end].half[0] == key)
            end++;
        while (at < n_old && old[at].key < key)
            out[(*made)++] = old[at++];
        int there = at < n_old && old[at].key == key;
        struct interval_entry entry = {.key = key, .length = 64};
        if (interval_rebuild(job, &low, there ? load_relaxed32(&old[at].value) : 0, 0, edits + i,
                             end - i, &entry.value) != 0)
            return -ENOSPC;
        if (entry.value != 0)
            out[(*made)++] = entry;
        at += (uint32_t)there;
        i = end;
    }
    memcpy(out + *made, old + at, (n_old - at) * sizeof *out);
    *made += n_old - at;
    return 0;
}

/* Whether only what the edit covers has to be painted. */
static int one_stroke(const struct interval_rows *rows, uint32_t old,
                      const struct interval_place *place, const struct interval_edit *edit)
{
    return interval_kind(old) >= INTERVAL_NARROW_LINE && interval_kind(old) < INTERVAL_DEEP_LINE &&
           rows->escapes == 0 && place->depth < 64 && rows->routes <= INTERVAL_ENTRIES - 1 &&
           length_of(edit, place->half) <= place->depth + 32 && length_of(edit, place->half) <= 64;
}

static int repaint_chunk(struct interval_job *job, const struct interval_place *place,
                         uint32_t old, const struct interval_edit *edit,
                         const struct interval_set *set, uint32_t *word)
{
    struct interval_painted before, painted;
    struct interval_stroke stroke = {.key = edit->half[place->half],
                                     .length = length_of(edit, place->half),
                                     .group = edit->group};
    stroke.at = not_before(set->routes, 0, set->n_routes, stroke.key, stroke.length);
    interval_read_lines(job->writer, old, place, &before);
    if (interval_repaint(set, place, &stroke, &before, &painted) == 0)
        return interval_build(job, set, place, word);
    *word = interval_chunk(job, set, place, &painted);
    return *word == 0 ? -ENOSPC : 0;
}

static int rebuild_chunk(struct interval_job *job, const struct interval_place *place,
                         uint32_t old, uint32_t inherited, struct interval_edit *edits,
                         uint32_t n, uint32_t *word)
{
    struct interval_entry routes[INTERVAL_MERGED], escapes[INTERVAL_MERGED];
    struct interval_set set = {routes, escapes, 0, 0};
    static const struct interval_rows nothing;
    const struct interval_rows *rows = &nothing;
    if (interval_kind(old) != INTERVAL_LEAF)
        rows = interval_rows_at(job->writer, old);
    set.n_routes = merge_routes(rows->entry + rows->escapes, rows->routes, place->half, edits, n,
                                routes);
    if (merge_escapes(job, rows->entry, rows->escapes, edits, place->half == 0 ? n : 0, escapes,
                      &set.n_escapes) != 0)
        return -ENOSPC;
    if (rows != &nothing && interval_replace(job, interval_block(old), rows->blocks) != 0)
        return -ENOSPC;
    if (n == 1 && inherited == place->inherited && set.n_routes > 0 &&
        one_stroke(rows, old, place, edits))
        return repaint_chunk(job, place, old, edits, &set, word);
    return interval_build(job, &set, place, word);
}

/* ---- directories ---- */

/* The own prefixes of a directory with the edits that end inside its byte. */
static uint32_t merge_own(const struct interval_directory *old, const struct interval_place *place,
                          struct interval_edit *edits, uint32_t n, uint32_t *out)
{
    uint32_t at = 0, made = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct interval_edit *edit = &edits[i];
        uint32_t length = length_of(edit, place->half);
        if (length > place->depth + 8)
            continue;
        uint32_t byte = interval_byte(edit->half[place->half], place->depth);
        uint32_t key = own_prefix(byte, length - place->depth, 0);
        while (at < old->count && old->own[at] >> 20 < key >> 20)
            out[made++] = old->own[at++];
        edit->before = 0;
        if (at < old->count && old->own[at] >> 20 == key >> 20)
            edit->before = own_group(old->own[at++]);
        if (edit->group != 0)
            out[made++] = key | edit->group;
    }
    memcpy(out + made, old->own + at, (old->count - at) * sizeof *out);
    return made + old->count - at;
}

/* What slots inherit, as far as that may differ now: all of them when the directory itself does,
 * otherwise those below the edits that end here. */
struct covered {
    uint32_t from, to;
    uint16_t before[INTERVAL_SLOTS], after[INTERVAL_SLOTS];
};

static void cover(const struct interval_place *place, uint32_t inherited,
                  const struct interval_edit *edits, uint32_t n, struct covered *covered)
{
    covered->from = covered->to = 0;
    if (inherited != place->inherited)
        covered->to = INTERVAL_SLOTS;
    for (uint32_t i = 0; i < n && covered->to < INTERVAL_SLOTS; i++) {
        uint32_t length = length_of(&edits[i], place->half);
        uint32_t byte = interval_byte(edits[i].half[place->half], place->depth);
        uint32_t end = byte + 1;
        if (length <= place->depth + 8)
            end = byte + (1u << (place->depth + 8 - length));
        if (covered->from == covered->to)
            covered->from = byte;
        if (covered->to < end)
            covered->to = end;
    }
}

/* The first slot from `s` on that inherits another answer than before, or `edited`. */
static uint32_t next_slot(const struct covered *covered, uint32_t s, uint32_t edited)
{
    while (s < edited && covered->before[s] == covered->after[s]) {
        if (s % 8 == 0 && s + 8 <= edited &&
            memcmp(&covered->before[s], &covered->after[s], 8 * sizeof covered->after[0]) == 0)
            s += 8;
        else
            s++;
    }
    return s;
}

static int rebuild_slots(struct interval_job *job, const struct interval_place *place,
                         const uint32_t *old, const struct covered *covered,
                         struct interval_edit *edits, uint32_t n, uint32_t *slot)
{
    uint32_t at = 0, next;
    for (uint32_t s = 0; s < INTERVAL_SLOTS; s++)
        slot[s] = load_relaxed32(&old[s]);
    for (uint32_t s = covered->from; s < covered->to; s++) {
        while (at < n && length_of(&edits[at], place->half) <= place->depth + 8)
            at++; /* its own: in the list already */
        next = at == n ? covered->to
                       : interval_byte(edits[at].half[place->half], place->depth);
        s = next_slot(covered, s, next);
        if (s == covered->to)
            break;
        uint32_t end = at;
        while (end < n && length_of(&edits[end], place->half) > place->depth + 8 &&
               interval_byte(edits[end].half[place->half], place->depth) == s)
            end++;
        const struct interval_place child = interval_child(place, s, covered->after[s]);
        if (end == at && interval_kind(slot[s]) == INTERVAL_LEAF)
            slot[s] = interval_leaf(covered->after[s]);
        else if (interval_rebuild(job, &child, slot[s], covered->before[s], edits + at, end - at,
                                  &slot[s]) != 0)
            return -ENOSPC;
        at = end;
    }
    return 0;
}

static int rebuild_directory(struct interval_job *job, const struct interval_place *place,
                             uint32_t old, uint32_t inherited, struct interval_edit *edits,
                             uint32_t n, uint32_t *word)
{
    const struct interval_directory *directory = interval_directory_at(job->writer, old);
    uint32_t slot[INTERVAL_SLOTS], own[INTERVAL_OWN_MAX], count;
    struct covered covered;
    count = merge_own(directory, place, edits, n, own);
    cover(place, inherited, edits, n, &covered);
    interval_paint_own(directory->own, directory->count, inherited, covered.from, covered.to,
                       covered.before);
    interval_paint_own(own, count, place->inherited, covered.from, covered.to, covered.after);
    if (rebuild_slots(job, place, directory->slot, &covered, edits, n, slot) != 0 ||
        interval_replace(job, interval_block(old),
                         interval_directory_blocks(directory->count)) != 0)
        return -ENOSPC;
    if (n > 0 && interval_collapsible(job->writer, slot, count))
        return interval_collapse(job, place, slot, own, count, word);
    *word = interval_put_directory(job, slot, own, count);
    return *word == 0 ? -ENOSPC : 0;
}

int interval_rebuild(struct interval_job *job, const struct interval_place *place, uint32_t old,
                     uint32_t inherited, struct interval_edit *edits, uint32_t n, uint32_t *word)
{
    if (interval_kind(old) == INTERVAL_DIRECTORY)
        return rebuild_directory(job, place, old, inherited, edits, n, word);
    return rebuild_chunk(job, place, old, inherited, edits, n, word);
}
