/* The row codec against any text: nothing is read outside it, and what comes out is sound.
 *
 * clang: -fsanitize=fuzzer,address,undefined -DLIBFUZZER. Without LIBFUZZER the program cuts and
 * joins lines `argv[1]` times from a fixed random sequence. Input: flags, where the text is cut
 * in two, how many rows fit at a call, then the text.
 *
 * Promised for any text: the rows are valid; read in two pieces, a few rows at a call, it gives
 * what it gives at once, the number of the bad line included; a row written out as text is read
 * back the same; sorted, all are there and in order.
 */
#include <arpa/inet.h>

#include "check.h"
#include "rows/rows.h"

enum { CONTROL = 3, ROWS = 600, GATEWAYS = 5, INPUT_MAX = 4096 };

struct outcome {
    struct route_row rows[ROWS];
    struct gateway_text gateways[GATEWAYS];
    uint32_t n, n_gateways, error;
    uint64_t consumed, lines; /* lines before the bad one are right */
};

/* As a caller does: `room` rows at a call, from where the last one ended. 0: go on. */
static int parse_piece(struct outcome *out, const char *text, uint64_t length, int last,
                       uint32_t room, int with)
{
    struct row_parse result;
    uint64_t from = 0;
    do {
        void *block;
        const char *exact = (const char *)exact_copy(text + from, length - from, 1, &block);
        uint32_t left = ROWS - out->n < room ? ROWS - out->n : room;
        int answer =
            rows_parse(exact, length - from, last, out->rows + out->n, left,
                       with ? out->gateways : NULL, GATEWAYS, with ? &out->n_gateways : NULL, &result);
        free(block);
        CHECK_EQUAL(answer != 0, result.error != ROW_OK);
        CHECK(result.rows <= left && result.consumed <= length - from);
        out->n += result.rows;
        out->lines += result.line;
        out->consumed += result.consumed;
        from += result.consumed;
        out->error = result.error;
    } while (out->error == ROW_OK && result.rows == room && out->n < ROWS);
    return out->error != ROW_OK;
}

static void check_row(const struct route_row *row, const struct outcome *out)
{
    char text[INET6_ADDRSTRLEN], line[128];
    struct route_row again;
    struct row_parse result;
    CHECK_EQUAL(0, row_valid(row));
    CHECK(row->nexthop != 0);
    if (row->flags & ROW_GATEWAY) {
        CHECK(row->nexthop <= out->n_gateways);
        const struct gateway_text *gateway = &out->gateways[row->nexthop - 1];
        CHECK(gateway->family == 4 || gateway->family == 6);
    }
    CHECK(inet_ntop(row->family == 4 ? AF_INET : AF_INET6, row->prefix, text, sizeof text));
    int n = snprintf(line, sizeof line, "%s/%u %u", text, row->length, row->nexthop);
    CHECK_EQUAL(0, rows_parse(line, (uint64_t)n, 1, &again, 1, NULL, 0, NULL, &result));
    CHECK_EQUAL(1, result.rows);
    CHECK(memcmp(again.prefix, row->prefix, 16) == 0 && again.length == row->length);
    CHECK(again.family == row->family && again.nexthop == row->nexthop);
}

static void check_sorting(struct outcome *out)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < out->n; i++)
        sum += out->rows[i].nexthop * (out->rows[i].length + 1u);
    rows_sort(out->rows, out->n);
    for (uint32_t i = 0; i < out->n; i++) {
        const struct route_row *a = &out->rows[i > 0 ? i - 1 : 0], *b = &out->rows[i];
        int order = memcmp(a->prefix, b->prefix, 16);
        CHECK(a->family < b->family ||
              (a->family == b->family && (order < 0 || (order == 0 && a->length <= b->length))));
        sum -= b->nexthop * (b->length + 1u);
    }
    CHECK_EQUAL(0, sum);
    uint64_t twice = rows_duplicate(out->rows, out->n);
    CHECK(twice == out->n ||
          memcmp(out->rows[twice].prefix, out->rows[twice - 1].prefix, 18) == 0);
}

static uint64_t rows_seen, refused;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct outcome whole, pieces;
    if (size < CONTROL || size > INPUT_MAX)
        return 0;
    const char *text = (const char *)data + CONTROL;
    uint64_t length = size - CONTROL, cut = length * data[1] / 255;
    uint32_t room = data[2] % 8 + 1u;
    int with = data[0] & 1;
    memset(&whole, 0, sizeof whole);
    memset(&pieces, 0, sizeof pieces);
    parse_piece(&whole, text, length, 1, ROWS, with);
    for (uint32_t i = 0; i < whole.n; i++)
        check_row(&whole.rows[i], &whole);
    if (parse_piece(&pieces, text, cut, 0, room, with) == 0)
        parse_piece(&pieces, text + pieces.consumed, length - pieces.consumed, 1, room, with);
    if (whole.n < ROWS) {
        CHECK_EQUAL(whole.error, pieces.error);
        CHECK_EQUAL(whole.n, pieces.n);
        CHECK_EQUAL(whole.lines, pieces.lines);
        CHECK_EQUAL(whole.consumed, pieces.consumed);
        CHECK(memcmp(whole.rows, pieces.rows, whole.n * sizeof whole.rows[0]) == 0);
        CHECK(memcmp(whole.gateways, pieces.gateways, sizeof whole.gateways) == 0);
    }
    check_sorting(&whole);
    rows_seen += whole.n;
    refused += whole.error != ROW_OK;
    return 0;
}

#ifndef LIBFUZZER
/* Lines that are nearly always right reach further than noise does. */
static size_t add_line(uint8_t *input, size_t at, uint64_t *random)
{
    static const char *const prefix[] = {"10.0.0.0/8", "1.2.3.4/32",    "2001:db8::/32",
                                         "::/0",       "0.0.0.0/0",     "::ffff:1.2.3.4/128",
                                         "10.0.0.1/8", "256.0.0.0/8",   "::1/64"};
    static const char *const between[] = {" ", "\t", "  \t", ""};
    static const char *const nexthop[] = {"7",          "254",       "4294967295", "192.0.2.1",
                                          "fe80::1",    "192.0.2.2", "fe80::2",    "192.0.2.3",
                                          "4294967296", "0",         "07"};
    static const char *const end[] = {"\n", "\r\n", " # what for\n", "\n\n", "# \n", " x\n", ""};
    uint64_t r = next_random(random);
    int wrong = r % 24 == 0; /* the last ones of each list */
    const char *const words[] = {prefix[(r >> 8) % (wrong ? 9 : 6)], between[(r >> 16) % (wrong ? 4 : 3)],
                                 nexthop[(r >> 24) % (wrong ? 11 : 7)],
                                 end[(r >> 32) % (wrong ? 7 : 5)]};
    for (int i = 0; i < 4; i++) {
        memcpy(input + at, words[i], strlen(words[i]));
        at += strlen(words[i]);
    }
    return at;
}

int main(int argc, char **argv)
{
    uint8_t input[INPUT_MAX];
    uint64_t random = 0x2545f4914f6cdd1du;
    long rounds = argc > 1 ? atol(argv[1]) : 10000;
    for (long i = 0; i < rounds; i++) {
        size_t size = CONTROL;
        for (uint64_t n = next_random(&random) % 40; n > 0; n--)
            size = add_line(input, size, &random);
        for (size_t at = 0; at < size; at++)
            if (at < CONTROL || next_random(&random) % 500 == 0)
                input[at] = (uint8_t)(next_random(&random) >> 40);
        LLVMFuzzerTestOneInput(input, size);
    }
    printf("%" PRIu64 " rows, %" PRIu64 " texts refused\n", rows_seen, refused);
    CHECK(rows_seen > (uint64_t)rounds && refused > 0);
    return 0;
}
#endif
