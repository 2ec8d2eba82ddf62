/* Route rows in bulk: is one valid, text into rows, sorting. Private memory alone; any process. */
#ifndef RC_ROWS_H
#define RC_ROWS_H
#include "layout/row_layout.h"

/* 0, or -EINVAL: unknown family, length out of range, bits set below the length. */
int row_valid(const struct route_row *row);

/* The text codec: `prefix/len nexthop` lines, nexthop a decimal id or an address.
 * See rows/rows.c for the grammar. */
enum row_error {
    ROW_OK = 0,
    ROW_BAD_PREFIX = 1,  /* not an address/length */
    ROW_HOST_BITS = 2,   /* bits set below the length; out->prefix holds the cleared one */
    ROW_BAD_LENGTH = 3,  /* length out of range for the family */
    ROW_BAD_NEXTHOP = 4, /* neither a decimal id nor an address */
    ROW_TRAILING = 5,    /* more than two fields */
    ROW_DUPLICATE = 6,   /* the same prefix twice in one file: found by rows_duplicate() */
};
struct row_parse {
    uint64_t consumed;  /* bytes taken, whole lines only */
    uint64_t line;      /* lines seen in this call; on error the offending line, from 1 */
    uint32_t rows;      /* rows written */
    uint32_t error;     /* enum row_error */
};
/* Parses whole lines of text[0..length) into rows[0..max); a last line without its newline is
 * left unless `last`. Blank lines and `#` comments are skipped. A decimal next hop lands in
 * row.nexthop. An address as next hop is refused with ROW_BAD_NEXTHOP unless `gateways` is not
 * NULL: then its distinct addresses are collected there (16 bytes each, family in the 17th;
 * *n_gateways counts on from call to call), row.nexthop is its 1-based position and row.flags
 * has ROW_GATEWAY. Returns 0 (also when rows[] is full: call again from `consumed`), or -EINVAL
 * with result->error: then the rows before the bad line are in rows[0..result->rows), and
 * after ROW_HOST_BITS rows[result->rows] is the line with its host bits cleared. */
struct gateway_text { uint8_t address[16]; uint8_t family; uint8_t unused[3]; };
int rows_parse(const char *text, uint64_t length, int last, struct route_row *rows, uint32_t max,
               struct gateway_text *gateways, uint32_t max_gateways, uint32_t *n_gateways,
               struct row_parse *result);
/* Sorts by family, address, length (the order of every listing); rows of one prefix keep their
 * order. Takes n rows of private memory when it can get them, and is slower when not. */
void rows_sort(struct route_row *rows, uint64_t n);
/* The first row whose prefix equals the one before it, in sorted rows; n when there is none. */
uint64_t rows_duplicate(const struct route_row *rows, uint64_t n);

#endif
