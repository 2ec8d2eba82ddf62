/* Route rows: checks one, and parses text into many.
 *
 *   line    = [ prefix blanks nexthop [ blanks ] ] [ "#" anything ] ( LF | CR LF )
 *   prefix  = address "/" decimal          198.51.100.0/24   2001:db8::/32
 *   nexthop = decimal (1..4294967295) | address
 *   blanks  = one or more spaces or tabs
 *
 * IPv4 in dotted quads without leading zeros, IPv6 as RFC 4291 2.2 (inet_pton). Every byte may
 * be hostile: nothing is read beyond `length`, a line has no limit but that. Works on
 * private memory alone, takes none of its own; any process. Sorting is in sort.c.
 */
#include "rows/rows.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

static uint64_t big_endian64(const uint8_t *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return __builtin_bswap64(word);
}

int row_valid(const struct route_row *row)
{
    uint32_t bits = row->family == 4 ? 32 : row->family == 6 ? 128 : 0, length = row->length;
    if (bits == 0 || length > bits)
        return -EINVAL;
    /* Bits behind the length, of both halves; a shift by 64 is none. */
    uint64_t high = big_endian64(row->prefix), low = big_endian64(row->prefix + 8);
    uint64_t rest = length < 64 ? (high << length) | low
                    : length < 128 ? low << (length - 64)
                                   : 0;
    return rest == 0 ? 0 : -EINVAL;
}

static void clear_host_bits(struct route_row *row)
{
    uint32_t whole = row->length / 8u, part = row->length % 8u;
    if (part != 0)
        row->prefix[whole++] &= (uint8_t)(0xff00 >> part);
    memset(row->prefix + whole, 0, sizeof row->prefix - whole);
}

/* A token of the line: [at, end). */
struct token {
    const char *at, *end;
};

static struct token next_token(const char **at, const char *end)
{
    struct token token;
    while (*at < end && (**at == ' ' || **at == '\t'))
        (*at)++;
    token.at = *at;
    while (*at < end && **at != ' ' && **at != '\t')
        (*at)++;
    token.end = *at;
    return token;
}

/* 1 and the number, or 0: empty, not decimal, a leading zero, or above `most`. */
static int decimal(struct token token, uint32_t most, uint32_t *out)
{
    uint64_t value = 0;
    if (token.at == token.end || token.end - token.at > 10 ||
        (*token.at == '0' && token.end - token.at > 1))
        return 0;
    for (const char *p = token.at; p < token.end; p++) {
        if (*p < '0' || *p > '9')
            return 0;
        value = value * 10 + (uint64_t)(*p - '0');
    }
    *out = (uint32_t)value;
    return value <= most;
}

static int dotted_quad(struct token token, uint8_t *out)
{
    const char *at = token.at;
    for (int i = 0; i < 4; i++) {
        struct token part = {at, at};
        uint32_t value;
        while (part.end < token.end && *part.end != '.')
            part.end++;
        if (!decimal(part, 255, &value) || (part.end == token.end) != (i == 3))
            return 0;
        out[i] = (uint8_t)value;
        at = part.end + 1;
    }
    return 1;
}

/* The address family of the token, its address in out[16]; 0: not an address. */
static uint8_t address(struct token token, uint8_t out[16])
{
    char text[INET6_ADDRSTRLEN];
    size_t length = (size_t)(token.end - token.at);
    memset(out, 0, 16);
    if (memchr(token.at, ':', length) == NULL)
        return dotted_quad(token, out) ? 4 : 0;
    if (length >= sizeof text || memchr(token.at, 0, length) != NULL)
        return 0;
    memcpy(text, token.at, length);
    text[length] = 0;
    return inet_pton(AF_INET6, text, out) == 1 ? 6 : 0;
}

static uint32_t parse_prefix(struct token token, struct route_row *row)
{
    const char *slash = memchr(token.at, '/', (size_t)(token.end - token.at));
    uint32_t length;
    if (slash == NULL)
        return ROW_BAD_PREFIX;
    row->family = address((struct token){token.at, slash}, row->prefix);
    if (row->family == 0)
        return ROW_BAD_PREFIX;
    if (!decimal((struct token){slash + 1, token.end}, row->family == 4 ? 32 : 128, &length))
        return ROW_BAD_LENGTH;
    row->length = (uint8_t)length;
    if (row_valid(row) == 0)
        return ROW_OK;
    clear_host_bits(row);
    return ROW_HOST_BITS;
}

/* The distinct gateways of a file: a few, each named by many lines. `recent` remembers where a
 * hash was last found, so that a line costs one comparison however many there are. */
struct gateways {
    struct gateway_text *list;
    uint32_t max, n;
    uint32_t recent[256];
};

static uint32_t gateway_position(struct gateways *gateways, const struct gateway_text *wanted)
{
    uint64_t word[2];
    memcpy(word, wanted->address, sizeof word);
    uint64_t hash = (word[0] ^ word[1] * 3) * UINT64_C(0x9e3779b97f4a7c15);
    uint32_t *recent = &gateways->recent[hash >> 56];
    uint32_t at = *recent;
    if (at >= gateways->n || memcmp(&gateways->list[at], wanted, sizeof *wanted) != 0)
        for (at = 0; at < gateways->n; at++)
            if (memcmp(&gateways->list[at], wanted, sizeof *wanted) == 0)
                break;
    if (at == gateways->n) {
        if (at >= gateways->max)
            return 0;
        gateways->list[gateways->n++] = *wanted;
    }
    *recent = at;
    return at + 1;
}

static uint32_t parse_nexthop(struct token token, struct gateways *gateways,
                              struct route_row *row)
{
    struct gateway_text wanted = {0};
    if (decimal(token, UINT32_MAX, &row->nexthop))
        return row->nexthop == 0 ? ROW_BAD_NEXTHOP : ROW_OK;
    if (gateways->list == NULL || token.at == token.end)
        return ROW_BAD_NEXTHOP;
    wanted.family = address(token, wanted.address);
    if (wanted.family == 0)
        return ROW_BAD_NEXTHOP;
    row->nexthop = gateway_position(gateways, &wanted);
    row->flags = ROW_GATEWAY;
    return row->nexthop == 0 ? ROW_BAD_NEXTHOP : ROW_OK;
}

static uint32_t parse_line(struct token line, struct gateways *gateways, struct route_row *row)
{
    struct token prefix = next_token(&line.at, line.end);
    struct token nexthop = next_token(&line.at, line.end);
    struct token more = next_token(&line.at, line.end);
    memset(row, 0, sizeof *row);
    uint32_t error = parse_prefix(prefix, row);
    if (error != ROW_OK)
        return error;
    error = parse_nexthop(nexthop, gateways, row);
    if (error == ROW_OK && more.at != more.end)
        error = ROW_TRAILING;
    return error;
}

/* The line without its end, comment and blanks around; empty when nothing is said. */
static struct token line_content(const char *at, const char *end)
{
    const char *comment = memchr(at, '#', (size_t)(end - at));
    if (comment != NULL)
        end = comment;
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    while (at < end && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r'))
        end--;
    return (struct token){at, end};
}

int rows_parse(const char *text, uint64_t length, int last, struct route_row *rows, uint32_t max,
               struct gateway_text *gateways, uint32_t max_gateways, uint32_t *n_gateways,
               struct row_parse *result)
{
    struct gateways seen = {.list = n_gateways == NULL ? NULL : gateways, .max = max_gateways};
    const char *at = text, *end = text + length;
    memset(result, 0, sizeof *result);
    if (seen.list != NULL)
        seen.n = *n_gateways < max_gateways ? *n_gateways : max_gateways;
    while (at < end && result->rows < max) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        if (newline == NULL && !last)
            break;
        struct token line = line_content(at, newline == NULL ? end : newline);
        result->line++;
        if (line.at != line.end) {
            result->error = parse_line(line, &seen, &rows[result->rows]);
            if (result->error != ROW_OK)
                break;
            result->rows++;
        }
        at = newline == NULL ? end : newline + 1;
    }
    result->consumed = (uint64_t)(at - text);
    if (seen.list != NULL)
        *n_gateways = seen.n;
    return result->error == ROW_OK ? 0 : -EINVAL;
}
