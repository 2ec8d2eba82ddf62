/* Sorts rows by family, address, length.
 *
 * A bottom-up merge sort: a sorted file costs one pass, halves in order are left alone, a
 * shuffled table of 900,000 rows takes 0.2 s. It is stable, since of two rows of one prefix the
 * later one is in force. Without memory for a second array the merges rotate in place instead.
 *
 * Private memory alone; any process.
 */
#include "rows/rows.h"

#include <stdlib.h>
#include <string.h>

enum { SHORT = 16 }; /* rows sorted by insertion before merging begins */

static uint64_t big_endian64(const uint8_t *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return __builtin_bswap64(word);
}

static int before(const struct route_row *a, const struct route_row *b)
{
    if (a->family != b->family)
        return a->family < b->family;
    uint64_t high_a = big_endian64(a->prefix), high_b = big_endian64(b->prefix);
    if (high_a != high_b)
        return high_a < high_b;
    uint64_t low_a = big_endian64(a->prefix + 8), low_b = big_endian64(b->prefix + 8);
    if (low_a != low_b)
        return low_a < low_b;
    return a->length < b->length;
}

static void merge_copy(struct route_row *rows, uint64_t middle, uint64_t n,
                       struct route_row *scratch)
{
    uint64_t left = 0, right = middle, out = 0;
    memcpy(scratch, rows, middle * sizeof *rows);
    while (left < middle && right < n)
        rows[out++] = before(&rows[right], &scratch[left]) ? rows[right++] : scratch[left++];
    memcpy(rows + out, scratch + left, (middle - left) * sizeof *rows);
}

static void reverse(struct route_row *rows, uint64_t n)
{
    for (uint64_t i = 0; i < n / 2; i++) {
        struct route_row row = rows[i];
        rows[i] = rows[n - 1 - i];
        rows[n - 1 - i] = row;
    }
}

/* The first of rows[0..n) that is not before `row` (strict 0), or that is behind it (strict 1). */
static uint64_t bound(const struct route_row *rows, uint64_t n, const struct route_row *row,
                      int strict)
{
    uint64_t low = 0, high = n;
    while (low < high) {
        uint64_t at = (low + high) / 2;
        if (strict ? !before(row, &rows[at]) : before(&rows[at], row))
            low = at + 1;
        else
            high = at;
    }
    return low;
}

/* Merges without room: cuts the longer side in half, finds the place in the other, rotates what
 * lies between, and merges both ends. Depth: log of the rows. */
static void merge_in_place(struct route_row *rows, uint64_t middle, uint64_t n)
{
    uint64_t left, right; /* rows[left..middle) and rows[middle..right) change places */
    if (middle == 0 || middle == n || !before(&rows[middle], &rows[middle - 1]))
        return;
    if (middle > n - middle) {
        left = middle / 2;
        right = middle + bound(rows + middle, n - middle, &rows[left], 0);
    } else {
        right = middle + (n - middle + 1) / 2;
        left = bound(rows, middle, &rows[right - 1], 1);
    }
    reverse(rows + left, middle - left);
    reverse(rows + middle, right - middle);
    reverse(rows + left, right - left);
    uint64_t cut = left + (right - middle);
    merge_in_place(rows, left, cut);
    merge_in_place(rows + cut, middle - left, n - cut);
}

static void insertion_sort(struct route_row *rows, uint64_t n)
{
    for (uint64_t i = 1; i < n; i++) {
        struct route_row row = rows[i];
        uint64_t at = i;
        for (; at > 0 && before(&row, &rows[at - 1]); at--)
            rows[at] = rows[at - 1];
        rows[at] = row;
    }
}

static void sort_rows(struct route_row *rows, uint64_t n, struct route_row *scratch)
{
    for (uint64_t from = 0; from < n; from += SHORT)
        insertion_sort(rows + from, n - from < SHORT ? n - from : SHORT);
    for (uint64_t width = SHORT; width < n; width *= 2)
        for (uint64_t from = 0; from + width < n; from += 2 * width) {
            uint64_t end = n - from < 2 * width ? n - from : 2 * width;
            if (!before(&rows[from + width], &rows[from + width - 1]))
                continue;
            if (scratch != NULL)
                merge_copy(rows + from, width, end, scratch);
            else
                merge_in_place(rows + from, width, end);
        }
}

void rows_sort(struct route_row *rows, uint64_t n)
{
    uint64_t sorted = 1;
    while (sorted < n && !before(&rows[sorted], &rows[sorted - 1]))
        sorted++;
    if (sorted >= n)
        return;
    struct route_row *scratch = malloc(n * sizeof *rows);
    sort_rows(rows, n, scratch);
    free(scratch);
}

uint64_t rows_duplicate(const struct route_row *rows, uint64_t n)
{
    for (uint64_t i = 1; i < n; i++)
        if (!before(&rows[i - 1], &rows[i]) && !before(&rows[i], &rows[i - 1]))
            return i;
    return n;
}
