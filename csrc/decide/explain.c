/* The worker's decision on one frame. See explain.h. */
#include "decide/explain.h"

#include <errno.h>
#include <string.h>

#include "layout/stats_layout.h"

enum { TRIES = 100 }; /* a writer would have to publish between two reads each time */

/* The prefix behind the answer: a second read, so until both speak of one group. */
static int find_match(struct fib_reader *fib, const struct decide_state *state,
                      struct lookup *lookup, struct explain_answer *answer)
{
    for (uint32_t tries = 0; tries < TRIES; tries++) {
        answer->looked_up = decide_batch(state, &answer->work, 1, lookup);
        if (answer->looked_up == 0)
            return 0;
        if (answer->work.decision.reason == DROP_FIB_UNAVAILABLE)
            return -EAGAIN;
        answer->lookup = lookup->answer[0];
        answer->generation = lookup->generation;
        int error = fib_lookup_match(fib, &lookup->key[0], &answer->match);
        if (error != 0)
            return error;
        if (answer->match.nexthop == answer->lookup.group)
            return 0;
    }
    return -EAGAIN;
}

/* Over a host port an error goes back where the packet came from, without a lookup. */
static void back(const struct explain_question *question, struct explain_answer *answer)
{
    struct work *work = &answer->icmp_work;
    bool open = question->ingress < FIB_MAX_PORTS && question->open_ports >> question->ingress & 1;
    work->decision = (struct decision){.outcome = open ? DECISION_SEND : DECISION_DROP,
                                       .stage = open ? STAGE_SEND : STAGE_PORT,
                                       .reason = open ? DROP_NONE : DROP_PORT_DOWN};
    answer->icmp_lookup.kind = FIB_KIND_FORWARD;
    answer->icmp_lookup.state = ADJACENCY_RESOLVED;
    answer->icmp_lookup.port = (uint16_t)question->ingress;
    memcpy(answer->icmp_lookup.source_mac, answer->icmp.source_mac, 6);
    memcpy(answer->icmp_lookup.target_mac, answer->icmp.target_mac, 6);
}

static void explain_error(const struct explain_question *question,
                          const struct decide_state *state, struct lookup *lookup,
                          struct explain_answer *answer)
{
    if (answer->work.decision.error == 0)
        return;
    answer->error = EXPLAIN_ERROR_FORBIDDEN;
    if (!icmp_may_answer(&answer->work.packet))
        return;
    answer->error = EXPLAIN_ERROR_IMPOSSIBLE;
    if (decide_error(state->fib, &answer->work, &answer->icmp) != 0)
        return;
    answer->error = EXPLAIN_ERROR_DECIDED;
    decide_own(&answer->icmp, question->seed, &answer->icmp_work);
    if (answer->icmp.to_ingress) {
        back(question, answer);
    } else if (decide_batch(state, &answer->icmp_work, 1, lookup) != 0) {
        answer->icmp_lookup = lookup->answer[0];
    }
}

int explain_frame(struct fib_reader *fib, const struct explain_question *question,
                  struct explain_answer *answer)
{
    struct own_addresses own;
    struct lookup lookup;
    const struct decide_state state = {fib, &own, question->open_ports, 0};
    memset(answer, 0, sizeof *answer);
    int error = own_addresses_read(&own, fib);
    if (error != 0)
        return error;
    answer->work.ingress = (uint16_t)question->ingress;
    packet_parse(&answer->work.packet, question->frame, question->captured,
                 question->wire_length, question->vnet, question->station, question->seed,
                 question->is_host != 0);
    error = find_match(fib, &state, &lookup, answer);
    if (error == 0)
        explain_error(question, &state, &lookup, answer);
    return error;
}
