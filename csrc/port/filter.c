/* Generates the classic BPF programs of a port. See filter.h.
 *
 * Jumps in classic BPF are relative and forward. The filter is small enough to write out; the
 * fanout program is emitted piece by piece, and the jumps that skip a piece are patched once its
 * length is known. A load beyond the packet would end a program with 0, which is a member that may
 * be away just now: so the program asks for the length first, and what is too short to be a
 * packet has the flow 0.
 */
#include "port/filter.h"

#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/in.h>

enum {
    ACCEPT = 0x40000, /* bytes to keep: more than any frame */
    VLAN_ID = 0x0fff,
    IPV4_LATER_OR_MORE = 0x3fff, /* fragment offset and MF */
};

static const uint32_t GOLDEN = 0x9e3779b1u; /* 2^32 / phi, odd: Knuth's multiplicative hash */

struct port_runs { /* of neighbouring buckets with one member */
    uint32_t count;
    uint16_t first[PORT_BUCKETS];
    uint16_t member[PORT_BUCKETS];
};

struct program {
    struct port_instruction *out;
    uint32_t length;
    uint32_t seed;
    uint32_t tail[6]; /* jumps to the table at the end, to be patched */
    uint32_t tails;
};

static uint32_t emit(struct program *p, uint32_t code, uint32_t k, uint32_t jt, uint32_t jf)
{
    p->out[p->length] = (struct port_instruction){(uint16_t)code, (uint8_t)jt, (uint8_t)jf, k};
    return p->length++;
}

static uint32_t ancillary(uint32_t what)
{
    return (uint32_t)SKF_AD_OFF + what;
}

static uint32_t last_station(uint32_t kind)
{
    return kind == PORT_KIND_HOST ? PACKET_OTHERHOST : PACKET_MULTICAST;
}

int port_filter_takes(uint32_t kind, uint32_t ethertype, uint32_t vlan, uint32_t station)
{
    return (ethertype == ETH_P_IP || ethertype == ETH_P_IPV6) && (vlan & VLAN_ID) == 0 &&
           station <= last_station(kind);
}

uint32_t port_filter_program(uint32_t kind, struct port_instruction *out)
{
    struct program p = {.out = out};
    emit(&p, BPF_LD | BPF_H | BPF_ABS, ancillary(SKF_AD_PROTOCOL), 0, 0);
    emit(&p, BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IP, 1, 0);
    emit(&p, BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IPV6, 0, 6);
    emit(&p, BPF_LD | BPF_H | BPF_ABS, ancillary(SKF_AD_VLAN_TAG), 0, 0);
    emit(&p, BPF_ALU | BPF_AND | BPF_K, VLAN_ID, 0, 0);
    emit(&p, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 3);
    emit(&p, BPF_LD | BPF_B | BPF_ABS, ancillary(SKF_AD_PKTTYPE), 0, 0);
    emit(&p, BPF_JMP | BPF_JGT | BPF_K, last_station(kind), 1, 0);
    emit(&p, BPF_RET | BPF_K, ACCEPT, 0, 0);
    emit(&p, BPF_RET | BPF_K, 0, 0, 0);
    return p.length;
}

uint32_t port_closed_program(struct port_instruction *out)
{
    struct program p = {.out = out};
    emit(&p, BPF_RET | BPF_K, 0, 0, 0);
    return p.length;
}

/* Each end of a flow, its address and port, is hashed alone into a cell of the program's memory;
 * the two are added, so that both directions of a flow have the same sum and the same worker. */
enum end { SOURCE = 0, TARGET = 1 };

/* A = X ^ X >> bits. */
static void fold(struct program *p, uint32_t bits)
{
    emit(p, BPF_MISC | BPF_TXA, 0, 0, 0);
    emit(p, BPF_ALU | BPF_RSH | BPF_K, bits, 0, 0);
    emit(p, BPF_ALU | BPF_XOR | BPF_X, 0, 0, 0);
}

/* X = (X ^ word at `offset`) * GOLDEN. */
static void mix_word(struct program *p, uint32_t offset)
{
    emit(p, BPF_LD | BPF_W | BPF_ABS, offset, 0, 0);
    emit(p, BPF_ALU | BPF_XOR | BPF_X, 0, 0, 0);
    emit(p, BPF_ALU | BPF_MUL | BPF_K, GOLDEN, 0, 0);
    emit(p, BPF_MISC | BPF_TAX, 0, 0, 0);
}

/* One address of `words` words, folded: the sum of two ends must not be their addresses' sum times
 * a constant, or all pairs of hosts with one sum would have one worker. */
static void hash_address(struct program *p, uint32_t offset, uint32_t words, uint32_t cell)
{
    emit(p, BPF_LDX | BPF_W | BPF_IMM, p->seed, 0, 0);
    for (uint32_t i = 0; i < words; i++)
        mix_word(p, offset + i * 4);
    fold(p, 15);
    emit(p, BPF_ST, cell, 0, 0);
}

/* Mixes the port in A into M[cell]. */
static void hash_port(struct program *p, uint32_t cell)
{
    emit(p, BPF_LDX | BPF_W | BPF_MEM, cell, 0, 0);
    emit(p, BPF_ALU | BPF_ADD | BPF_X, 0, 0, 0);
    emit(p, BPF_ALU | BPF_MUL | BPF_K, GOLDEN, 0, 0);
    emit(p, BPF_MISC | BPF_TAX, 0, 0, 0);
    fold(p, 15);
    emit(p, BPF_ST, cell, 0, 0);
}

/* Where the table begins is not known yet. A jump always carries 32 bits, a branch only 8. */
static void to_table(struct program *p)
{
    p->tail[p->tails++] = emit(p, BPF_JMP | BPF_JA, 0, 0, 0);
}

/* Multiplying moves bits up only: the two rounds of MurmurHash3's finalizer, then the upper half,
 * which all bits have reached. */
static void finish(struct program *p)
{
    emit(p, BPF_LD | BPF_W | BPF_MEM, SOURCE, 0, 0);
    emit(p, BPF_LDX | BPF_W | BPF_MEM, TARGET, 0, 0);
    emit(p, BPF_ALU | BPF_ADD | BPF_X, 0, 0, 0);
    emit(p, BPF_MISC | BPF_TAX, 0, 0, 0);
    fold(p, 16);
    emit(p, BPF_ALU | BPF_MUL | BPF_K, 0x85ebca6bu, 0, 0);
    emit(p, BPF_MISC | BPF_TAX, 0, 0, 0);
    fold(p, 13);
    emit(p, BPF_ALU | BPF_MUL | BPF_K, 0xc2b2ae35u, 0, 0);
    emit(p, BPF_ALU | BPF_RSH | BPF_K, 16, 0, 0);
    emit(p, BPF_ALU | BPF_AND | BPF_K, PORT_BUCKETS - 1, 0, 0);
}

/* How far a jump at `at` has to go to reach the next instruction emitted. */
static uint8_t to_here(const struct program *p, uint32_t at)
{
    return (uint8_t)(p->length - at - 1);
}

/* A packet of less than `bytes` has the flow 0: there is nothing to load. */
static void no_less_than(struct program *p, uint32_t bytes)
{
    emit(p, BPF_LD | BPF_W | BPF_LEN, 0, 0, 0);
    emit(p, BPF_JMP | BPF_JGE | BPF_K, bytes, 2, 0);
    emit(p, BPF_LD | BPF_W | BPF_IMM, 0, 0, 0);
    to_table(p);
}

/* Falls through for TCP and UDP; returns the jump to patch for everything else. */
static uint32_t if_ports(struct program *p, uint32_t protocol_at)
{
    emit(p, BPF_LD | BPF_B | BPF_ABS, protocol_at, 0, 0);
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_TCP, 1, 0);
    return emit(p, BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_UDP, 0, 0);
}

static void fanout4(struct program *p)
{
    no_less_than(p, 20);
    hash_address(p, 12, 1, SOURCE);
    hash_address(p, 16, 1, TARGET);
    uint32_t no_ports = if_ports(p, 9);
    emit(p, BPF_LD | BPF_H | BPF_ABS, 6, 0, 0);
    uint32_t fragment = emit(p, BPF_JMP | BPF_JSET | BPF_K, IPV4_LATER_OR_MORE, 0, 0);
    emit(p, BPF_LDX | BPF_B | BPF_MSH, 0, 0, 0); /* X = header length */
    emit(p, BPF_LD | BPF_W | BPF_LEN, 0, 0, 0);
    uint32_t cut = emit(p, BPF_JMP | BPF_JGT | BPF_X, 0, 0, 0); /* or the next would wrap */
    emit(p, BPF_ALU | BPF_SUB | BPF_X, 0, 0, 0);
    uint32_t short4 = emit(p, BPF_JMP | BPF_JGE | BPF_K, 4, 0, 0);
    for (uint32_t end = SOURCE; end <= TARGET; end++) {
        emit(p, BPF_LDX | BPF_B | BPF_MSH, 0, 0, 0);
        emit(p, BPF_LD | BPF_H | BPF_IND, end * 2, 0, 0);
        hash_port(p, end);
    }
    p->out[no_ports].jump_false = to_here(p, no_ports);
    p->out[fragment].jump_true = to_here(p, fragment);
    p->out[cut].jump_false = to_here(p, cut);
    p->out[short4].jump_false = to_here(p, short4);
    finish(p);
    to_table(p);
}

static void fanout6(struct program *p)
{
    no_less_than(p, 40);
    hash_address(p, 8, 4, SOURCE);
    hash_address(p, 24, 4, TARGET);
    uint32_t no_ports = if_ports(p, 6);
    emit(p, BPF_LD | BPF_W | BPF_LEN, 0, 0, 0);
    uint32_t short6 = emit(p, BPF_JMP | BPF_JGE | BPF_K, 44, 0, 0);
    for (uint32_t end = SOURCE; end <= TARGET; end++) {
        emit(p, BPF_LD | BPF_H | BPF_ABS, 40 + end * 2, 0, 0);
        hash_port(p, end);
    }
    p->out[no_ports].jump_false = to_here(p, no_ports);
    p->out[short6].jump_false = to_here(p, short6);
    finish(p);
    to_table(p);
}

/* Runs of buckets with one member, halved until one is left:
 *
 *     bucket >= first bucket of run n/2 ?  no: runs [0, n/2)   yes: runs [n/2, n)
 *
 * The lower half falls through, so a branch skips at most half of 2 * PORT_BUCKETS - 1
 * instructions, which is what its 8 bits can say. */
static void table(struct program *p, const struct port_runs *runs, uint32_t from, uint32_t to)
{
    if (to - from == 1) {
        emit(p, BPF_RET | BPF_K, runs->member[from], 0, 0);
        return;
    }
    uint32_t middle = from + (to - from) / 2;
    uint32_t branch = emit(p, BPF_JMP | BPF_JGE | BPF_K, runs->first[middle], 0, 0);
    table(p, runs, from, middle);
    p->out[branch].jump_true = to_here(p, branch);
    table(p, runs, middle, to);
}
RC_STATIC_ASSERT(2 * (PORT_BUCKETS / 2) - 1 <= UINT8_MAX, "the lower half can be skipped");

static void find_runs(const uint16_t *member, struct port_runs *runs)
{
    runs->count = 0;
    for (uint32_t bucket = 0; bucket < PORT_BUCKETS; bucket++) {
        if (bucket != 0 && member[bucket] == member[bucket - 1])
            continue;
        runs->first[runs->count] = (uint16_t)bucket;
        runs->member[runs->count++] = member[bucket];
    }
}

uint32_t port_fanout_program(const uint16_t *member, uint32_t seed, struct port_instruction *out)
{
    struct program p = {.out = out, .seed = seed};
    struct port_runs runs;
    find_runs(member, &runs);
    no_less_than(&p, 1);
    emit(&p, BPF_LD | BPF_B | BPF_ABS, 0, 0, 0);
    emit(&p, BPF_ALU | BPF_RSH | BPF_K, 4, 0, 0);
    uint32_t not4 = emit(&p, BPF_JMP | BPF_JEQ | BPF_K, 4, 0, 0);
    fanout4(&p);
    p.out[not4].jump_false = to_here(&p, not4);
    emit(&p, BPF_JMP | BPF_JEQ | BPF_K, 6, 2, 0);
    emit(&p, BPF_LD | BPF_W | BPF_IMM, 0, 0, 0);
    to_table(&p);
    fanout6(&p);
    for (uint32_t i = 0; i < p.tails; i++)
        p.out[p.tail[i]].k = p.length - p.tail[i] - 1;
    table(&p, &runs, 0, runs.count);
    return p.length;
}
