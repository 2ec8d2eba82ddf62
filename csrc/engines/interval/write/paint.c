/* Paints: turns a sorted set of nested prefixes into intervals.
 *
 *     /32  |------------------- 3 -------------------|       stack of what is open, widest first;
 *     /40       |---- 5 ----|                                an interval ends where a prefix
 *     /48         |7|                                        begins or ends
 *          |-3--|5|7|---5---|----------- 3 ----------|       neighbours alike are one
 *
 * One prefix of a chunk that changes covers a few intervals of many: the others are taken from
 * the lines as they are (lines.c), and only the ones it covers are painted again.
 * Control alone.
 */
#include "engines/interval/write/build.h"

#include <string.h>

enum { OPEN = 68 /* lengths 0..64, what is inherited, an escape */ };

struct brush {
    struct interval_painted *out;
    uint64_t at; /* where the next interval begins */
    uint32_t top;
    int done; /* painted to the last key there is */
    uint64_t last[OPEN];
    uint16_t value[OPEN];
};

/* Neighbours alike are one. */
static void add(struct interval_painted *out, uint64_t end, uint16_t value)
{
    if (out->n == 0 || out->value[out->n - 1] != value) {
        out->value[out->n++] = value;
        out->top |= value;
    }
    out->end[out->n - 1] = end;
}

static void end_interval(struct brush *brush, uint64_t end, uint16_t value)
{
    add(brush->out, end, value);
    brush->at = end + 1;
    brush->done = end == UINT64_MAX;
}

static void close_one(struct brush *brush)
{
    if (!brush->done && brush->at <= brush->last[brush->top])
        end_interval(brush, brush->last[brush->top], brush->value[brush->top]);
}

static void close_all(struct brush *brush)
{
    for (;; brush->top--) {
        close_one(brush);
        if (brush->top == 0)
            return;
    }
}

static void open_one(struct brush *brush, uint64_t first, uint64_t last, uint16_t value)
{
    while (brush->last[brush->top] < first) {
        close_one(brush);
        brush->top--;
    }
    if (brush->at < first)
        end_interval(brush, first - 1, brush->value[brush->top]);
    brush->top++;
    brush->last[brush->top] = last;
    brush->value[brush->top] = value;
}

uint32_t interval_paint(const struct interval_set *set, const struct interval_place *place,
                        struct interval_painted *painted)
{
    struct brush brush = {.out = painted, .at = place->first};
    uint32_t i = 0, j = 0;
    painted->n = painted->top = 0;
    painted->deep = set->n_escapes > 0;
    if (set->n_routes + set->n_escapes > INTERVAL_ENTRIES)
        return 0;
    brush.last[0] = place->first | interval_open(place->depth);
    brush.value[0] = (uint16_t)place->inherited;
    while (i < set->n_routes || j < set->n_escapes) {
        struct interval_entry *route = set->routes + i, *escape = set->escapes + j;
        if (j < set->n_escapes && (i == set->n_routes || escape->key < route->key)) {
            open_one(&brush, escape->key, escape->key, (uint16_t)(INTERVAL_ESCAPE | j));
            escape->group = brush.value[brush.top - 1];
            j++;
        } else {
            open_one(&brush, route->key, route->key | interval_open(route->length),
                     (uint16_t)route->value);
            painted->deep |= route->length > place->depth + 32;
            i++;
        }
    }
    close_all(&brush);
    return interval_lines(painted) == 0 ? 0 : painted->n;
}

/* The answer around route `at` of the set: prefixes nest, so the nearest before it that reaches
 * its end is the longest that covers it. */
static uint32_t around(const struct interval_set *set, const struct interval_place *place,
                       uint32_t at, uint64_t last)
{
    while (at-- > 0)
        if ((set->routes[at].key | interval_open(set->routes[at].length)) >= last)
            return set->routes[at].value;
    return place->inherited;
}

static uint32_t first_to_reach(const struct interval_painted *painted, uint32_t from, uint64_t key)
{
    uint32_t end = painted->n - 1;
    while (from < end) {
        uint32_t middle = (from + end) / 2;
        if (painted->end[middle] < key)
            from = middle + 1;
        else
            end = middle;
    }
    return from;
}

uint32_t interval_repaint(const struct interval_set *set, const struct interval_place *place,
                          const struct interval_stroke *stroke,
                          const struct interval_painted *before, struct interval_painted *painted)
{
    uint64_t first = stroke->key, last = first | interval_open(stroke->length);
    uint32_t a = first_to_reach(before, 0, first), b = first_to_reach(before, a, last);
    uint32_t i = stroke->at + (stroke->group != 0);
    struct brush brush = {.out = painted, .at = first};
    brush.last[0] = last;
    brush.value[0] = (uint16_t)(stroke->group != 0 ? stroke->group
                                                   : around(set, place, stroke->at, last));
    painted->n = a;
    painted->deep = 0;
    memcpy(painted->end, before->end, a * sizeof before->end[0]);
    memcpy(painted->value, before->value, a * sizeof before->value[0]);
    if ((a == 0 ? place->first : before->end[a - 1] + 1) < first)
        add(painted, first - 1, before->value[a]);
    for (; i < set->n_routes && set->routes[i].key <= last; i++)
        open_one(&brush, set->routes[i].key,
                 set->routes[i].key | interval_open(set->routes[i].length),
                 (uint16_t)set->routes[i].value);
    close_all(&brush);
    b += before->end[b] == last;
    if (b < before->n) {
        add(painted, before->end[b], before->value[b]);
        b++;
    }
    uint32_t rest = before->n - b;
    if (painted->n + rest > INTERVAL_PAINTED)
        return 0;
    memcpy(painted->end + painted->n, before->end + b, rest * sizeof before->end[0]);
    memcpy(painted->value + painted->n, before->value + b, rest * sizeof before->value[0]);
    painted->n += rest;
    painted->top = 0;
    for (uint32_t k = 0; k < painted->n; k++)
        painted->top |= painted->value[k];
    return interval_lines(painted) == 0 ? 0 : painted->n;
}

