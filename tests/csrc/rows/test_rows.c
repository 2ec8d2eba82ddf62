/* The row codec under sanitizers: random bytes in exact-size memory, and the sort that has no
 * memory of its own. Includes rows/sort.c to reach the merge without room. */
#include <errno.h>

#include "../../csrc/rows/sort.c"
#include "check.h"

static uint64_t state = 99;

static uint32_t below(uint32_t n)
{
    return (uint32_t)(next_random(&state) >> 33) % n;
}

/* Text that is nearly right reaches further than noise does. */
static void test_random_text(void)
{
    static const char *const piece[] = {
        "10.0.0.0/8", "1.2.3.4/32", "2001:db8::/32", "::/0", "0.0.0.0/0", " ", " ", " ", "\t",
        "\n", "\n", "\n", "7", "254", "4294967295", "99999999999", "192.0.2.1", "fe80::1", "#",
        "\r\n", "/", ":", ".", "256.0.0.0/8", "10.0.0.1/8", "::1/64", "/33", "-1", "\0x", "01"};
    enum { PIECES = sizeof piece / sizeof piece[0] };
    for (int round = 0; round < 60000; round++) {
        char text[256];
        uint32_t length = 0, n = below(14);
        for (uint32_t i = 0; i < n; i++) {
            const char *part = piece[below(PIECES)];
            uint32_t bytes = (uint32_t)strlen(part) + (part[0] == 0);
            memcpy(text + length, part, bytes);
            length += bytes;
        }
        for (uint32_t i = 0; i < length; i++)
            if (below(40) == 0)
                text[i] = (char)below(256);
        void *block;
        const char *exact = (const char *)exact_copy(text, length, 0, &block);
        struct route_row rows[3];
        struct gateway_text gateways[2];
        struct row_parse result;
        uint32_t n_gateways = 0;
        int last = (int)below(2), with = (int)below(2);
        int answer = rows_parse(exact, length, last, rows, 3, with ? gateways : NULL, 2,
                                with ? &n_gateways : NULL, &result);
        CHECK(result.consumed <= length && result.rows <= 3 && n_gateways <= 2);
        CHECK_EQUAL(answer != 0, result.error != ROW_OK);
        for (uint32_t i = 0; i < result.rows; i++) {
            CHECK_EQUAL(0, row_valid(&rows[i]));
            CHECK(rows[i].nexthop != 0);
        }
        if (result.error == ROW_HOST_BITS)
            CHECK_EQUAL(0, row_valid(&rows[result.rows]));
        if (answer == 0 && last && result.rows < 3)
            CHECK_EQUAL(length, result.consumed);
        free(block);
    }
}

static void random_rows(struct route_row *rows, uint32_t n)
{
    memset(rows, 0, n * sizeof *rows);
    for (uint32_t i = 0; i < n; i++) {
        rows[i].family = below(2) == 0 ? 4 : 6;
        rows[i].length = (uint8_t)below(3);
        rows[i].prefix[below(2) * 15] = (uint8_t)below(6);
        rows[i].metric = i; /* tells equal rows apart */
    }
}

static void check_sorted(const struct route_row *rows, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++) {
        CHECK(!before(&rows[i], &rows[i - 1]));
        CHECK(before(&rows[i - 1], &rows[i]) || rows[i - 1].metric < rows[i].metric);
    }
}

static void test_sort_is_stable_with_and_without_room(void)
{
    static struct route_row rows[3000], scratch[3000];
    for (uint32_t n = 0; n < 3000; n += 1 + n / 9) {
        random_rows(rows, n);
        sort_rows(rows, n, scratch);
        check_sorted(rows, n);
        random_rows(rows, n);
        sort_rows(rows, n, NULL);
        check_sorted(rows, n);
        random_rows(rows, n);
        rows_sort(rows, n);
        check_sorted(rows, n);
        uint64_t duplicate = rows_duplicate(rows, n);
        CHECK(duplicate == n || !before(&rows[duplicate - 1], &rows[duplicate]));
    }
}

int main(void)
{
    test_random_text();
    test_sort_is_stable_with_and_without_room();
    return 0;
}
