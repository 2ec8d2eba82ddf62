/* Commits of a stats object: killed at any step, the object reads as the old state or the new one,
 * balanced, and a successor takes it over. "Killed" is a copy of the memory at a fault point. */
#include <errno.h>

#include "check.h"
#include "report/stats.h"

static struct stats_object object;
static struct stats_block before, after;
static uint32_t killed_at;

static int taking_over;

static void take_over(const struct stats_object *dead)
{
    static struct stats_object copy;
    struct stats_writer successor;
    copy = *dead;
    uint64_t held = 0, restarting = 0, rx = 0;
    struct stats_block block;
    CHECK_EQUAL(0, stats_read(&copy, &block));
    held = block.held;
    restarting = block.drops[DROP_WORKER_RESTARTING];
    rx = block.rx;
    CHECK_EQUAL(0, stats_attach(&successor, &copy, sizeof copy, 5));
    CHECK_EQUAL(0, stats_read(&copy, &block));
    CHECK_EQUAL(1, stats_balanced(&block));
    CHECK_EQUAL(0, block.held);
    CHECK_EQUAL(restarting + held, block.drops[DROP_WORKER_RESTARTING]);
    CHECK_EQUAL(rx, block.rx);
    CHECK_EQUAL(0, memcmp(&copy.block[0], &copy.block[1], sizeof copy.block[0]));
}

void fault_point(const char *name)
{
    struct stats_block seen;
    if (strncmp(name, "stats-", 6) != 0 || taking_over)
        return;
    killed_at++;
    CHECK_EQUAL(0, stats_read(&object, &seen));
    const struct stats_block *expected =
        strcmp(name, "stats-after-sequence") == 0 ? &after : &before;
    CHECK_EQUAL(0, memcmp(expected, &seen, sizeof seen));
    CHECK_EQUAL(1, stats_balanced(&seen));
    taking_over = 1;
    take_over(&object);
    taking_over = 0;
}

static void count_something(struct stats_block *now, uint64_t *random, uint32_t ports)
{
    for (uint64_t n = next_random(random) % 64; n > 0; n--) {
        now->rx++;
        switch (next_random(random) % 4) {
        case 0: now->forwarded++; break;
        case 1: now->delivered++; break;
        case 2: now->held++; break;
        default: now->drops[1 + next_random(random) % 29]++; break;
        }
    }
    if (now->held > 3) {
        now->held -= 3;
        now->forwarded += 3;
    }
    now->port[next_random(random) % ports].rx = next_random(random);
}

int main(void)
{
    struct stats_writer writer;
    uint64_t random = 42;
    CHECK_EQUAL((uint64_t)-EINVAL, stats_attach(&writer, &object, sizeof object, 1));
    CHECK_EQUAL((uint64_t)-EINVAL, stats_create(&object, sizeof object - 1, 3, 9));
    taking_over = 1;
    CHECK_EQUAL(0, stats_create(&object, sizeof object, 3, 9));
    CHECK_EQUAL(0, stats_attach(&writer, &object, sizeof object, 1));
    taking_over = 0;
    CHECK_EQUAL(0, object.life.restarts);
    CHECK_EQUAL(3, object.life.worker);
    writer.ports = 5;
    before = writer.now;
    for (int round = 0; round < 500; round++) {
        count_something(&writer.now, &random, writer.ports);
        after = writer.now;
        stats_commit(&writer);
        before = writer.now;
    }
    taking_over = 1;
    CHECK_EQUAL(4 * 500, killed_at); /* before, inside, before the word, after it */
    CHECK_EQUAL(0, stats_attach(&writer, &object, sizeof object, 7));
    CHECK_EQUAL(1, object.life.restarts);
    CHECK_EQUAL(5, writer.ports);

    writer.now.rx++; /* a block that does not balance is refused, not repaired silently */
    stats_commit(&writer);
    CHECK_EQUAL((uint64_t)-EBADMSG, stats_attach(&writer, &object, sizeof object, 8));
    uint32_t named = 0; /* without a gap from 1 on */
    for (uint32_t reason = 1; reason < DROP_REASONS; reason++)
        named += drop_reason_name(reason) != NULL;
    CHECK(named >= DROP_QUIESCED && named < DROP_REASONS);
    for (uint32_t reason = 1; reason < DROP_REASONS; reason++) {
        CHECK_EQUAL(reason <= named, drop_reason_name(reason) != NULL);
        CHECK_EQUAL(reason <= named, drop_reason_text(reason) != NULL);
    }
    CHECK(drop_reason_name(DROP_REASONS) == NULL);
    CHECK_EQUAL(0, stats_bucket(0, 8));
    CHECK_EQUAL(0, stats_bucket(1, 8));
    CHECK_EQUAL(2, stats_bucket(7, 8));
    CHECK_EQUAL(7, stats_bucket(UINT64_MAX, 8));
    return 0;
}
