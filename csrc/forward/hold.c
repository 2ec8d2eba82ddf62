/* The hold queue: lists by age and by neighbour over one array of entries. See hold.h. */
#include "forward/hold.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

int hold_open(struct hold_queue *hold, uint32_t packets, uint32_t per_neighbour)
{
    memset(hold, 0, sizeof *hold);
    if (packets == 0 || packets > HOLD_PACKETS_MAX || per_neighbour == 0)
        return -EINVAL;
    hold->packets = packets;
    hold->per_neighbour = per_neighbour;
    hold->buckets = 16;
    while (hold->buckets < packets)
        hold->buckets *= 2;
    hold->entry = calloc(packets, sizeof *hold->entry);
    hold->neighbour = calloc(packets, sizeof *hold->neighbour);
    hold->bucket = calloc(hold->buckets, sizeof *hold->bucket);
    void *bytes = mmap(NULL, (size_t)packets * HOLD_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    hold->bytes = bytes == MAP_FAILED ? NULL : bytes;
    if (bytes != MAP_FAILED)
        (void)madvise(bytes, (size_t)packets * HOLD_BYTES, MADV_DONTDUMP); /* packets, too */
    if (hold->entry == NULL || hold->neighbour == NULL || hold->bucket == NULL ||
        hold->bytes == NULL) {
        hold_close(hold);
        return -ENOMEM;
    }
    hold->oldest = hold->newest = HOLD_NONE;
    for (uint32_t i = 0; i < packets; i++) {
        hold->entry[i].age.newer = i + 1 < packets ? i + 1 : HOLD_NONE;
        hold->neighbour[i].chain = i + 1 < packets ? i + 1 : HOLD_NONE;
    }
    for (uint32_t i = 0; i < hold->buckets; i++)
        hold->bucket[i] = HOLD_NONE;
    return 0;
}

void hold_close(struct hold_queue *hold)
{
    free(hold->entry);
    free(hold->neighbour);
    free(hold->bucket);
    if (hold->bytes != NULL)
        munmap(hold->bytes, (size_t)hold->packets * HOLD_BYTES);
    memset(hold, 0, sizeof *hold);
}

static uint32_t *bucket_of(struct hold_queue *hold, const struct hold_key *key)
{
    const uint8_t *bytes = (const uint8_t *)key;
    uint32_t hash = 2166136261u; /* FNV-1a; the chains are bounded by `packets` anyway */
    for (size_t i = 0; i < sizeof *key; i++)
        hash = (hash ^ bytes[i]) * 16777619u;
    return &hold->bucket[(hash ^ (hash >> 16)) & (hold->buckets - 1)];
}

/* As many neighbours as entries, and each has an entry: there is always a free one. */
static uint32_t neighbour_of(struct hold_queue *hold, const struct hold_key *key)
{
    uint32_t *head = bucket_of(hold, key);
    for (uint32_t n = *head; n != HOLD_NONE; n = hold->neighbour[n].chain)
        if (memcmp(&hold->neighbour[n].key, key, sizeof *key) == 0)
            return n;
    uint32_t n = hold->free_neighbour;
    struct hold_neighbour *neighbour = &hold->neighbour[n];
    hold->free_neighbour = neighbour->chain;
    *neighbour = (struct hold_neighbour){
        .key = *key, .oldest = HOLD_NONE, .newest = HOLD_NONE, .chain = *head};
    *head = n;
    return n;
}

static void free_neighbour(struct hold_queue *hold, uint32_t n)
{
    struct hold_neighbour *neighbour = &hold->neighbour[n];
    uint32_t *link = bucket_of(hold, &neighbour->key);
    while (*link != n)
        link = &hold->neighbour[*link].chain;
    *link = neighbour->chain;
    neighbour->chain = hold->free_neighbour;
    hold->free_neighbour = n;
}

int hold_remove(struct hold_queue *hold, uint32_t index)
{
    if (index >= hold->packets || !hold->entry[index].used)
        return -ENOENT;
    struct hold_entry *entry = &hold->entry[index];
    struct hold_neighbour *neighbour = &hold->neighbour[entry->neighbour];
    *(entry->age.older == HOLD_NONE ? &hold->oldest : &hold->entry[entry->age.older].age.newer) =
        entry->age.newer;
    *(entry->age.newer == HOLD_NONE ? &hold->newest : &hold->entry[entry->age.newer].age.older) =
        entry->age.older;
    *(entry->same.older == HOLD_NONE ? &neighbour->oldest
                                     : &hold->entry[entry->same.older].same.newer) =
        entry->same.newer;
    *(entry->same.newer == HOLD_NONE ? &neighbour->newest
                                     : &hold->entry[entry->same.newer].same.older) =
        entry->same.older;
    if (--neighbour->count == 0)
        free_neighbour(hold, entry->neighbour);
    entry->used = 0;
    entry->age.newer = hold->free_entry;
    hold->free_entry = index;
    hold->count--;
    return 0;
}

static void evict(struct hold_queue *hold, uint32_t index, struct hold_outcome *outcome)
{
    if (hold->entry[index].originated != 0)
        outcome->evicted_own++;
    else
        outcome->evicted++;
    hold_remove(hold, index);
}

int hold_ask(struct hold_queue *hold, uint32_t index, uint64_t now_ns)
{
    struct hold_neighbour *neighbour = &hold->neighbour[hold->entry[index].neighbour];
    if (neighbour->asked_ns != 0 && now_ns - neighbour->asked_ns < HOLD_ASK_AGAIN_NS)
        return 0;
    neighbour->asked_ns = now_ns;
    return 1;
}

int hold_put(struct hold_queue *hold, const struct packet *packet, uint16_t ingress,
             uint8_t originated, const struct hold_key *key, uint64_t now_ns,
             struct hold_outcome *outcome)
{
    memset(outcome, 0, sizeof *outcome);
    uint32_t length = packet->send_length; /* Ethernet padding stays behind */
    if (length > HOLD_BYTES || length > packet->length)
        return -EMSGSIZE;
    if (hold->count == hold->packets)
        evict(hold, hold->oldest, outcome);
    uint32_t n = neighbour_of(hold, key);
    struct hold_neighbour *neighbour = &hold->neighbour[n];
    uint32_t index = hold->free_entry;
    struct hold_entry *entry = &hold->entry[index];
    hold->free_entry = entry->age.newer;
    uint8_t *bytes = hold->bytes + (size_t)index * HOLD_BYTES;
    memcpy(bytes, packet->frame, length);
    entry->packet = *packet;
    entry->packet.frame = bytes;
    entry->packet.length = length;
    entry->arrived_ns = now_ns;
    entry->neighbour = n;
    entry->ingress = ingress;
    entry->originated = originated;
    entry->used = 1;
    entry->age = (struct hold_link){.older = hold->newest, .newer = HOLD_NONE};
    entry->same = (struct hold_link){.older = neighbour->newest, .newer = HOLD_NONE};
    *(hold->newest == HOLD_NONE ? &hold->oldest : &hold->entry[hold->newest].age.newer) = index;
    *(neighbour->newest == HOLD_NONE ? &neighbour->oldest
                                     : &hold->entry[neighbour->newest].same.newer) = index;
    hold->newest = neighbour->newest = index;
    hold->count++;
    neighbour->count++;
    outcome->ask = (uint8_t)hold_ask(hold, index, now_ns);
    /* Over the neighbour's bound only after the new one is in: it keeps the neighbour alive. */
    if (neighbour->count > hold->per_neighbour)
        evict(hold, neighbour->oldest, outcome);
    return 0;
}
