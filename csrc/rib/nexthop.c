/* Next-hop sets: what a row's `nexthop` number stands for.
 *
 *   directory[id] -> node (kind, count, state, first path) -> node (second path) -> ... -> 0
 *
 * A set is replaced by building new nodes and storing the directory word. The index by content
 * (which lets equal sets share one id) and the reference counts are private.
 */
#include <errno.h>

#include "rib/private.h"

static int path_order(const struct rib_path *a, const struct rib_path *b)
{
    if (a->family != b->family)
        return a->family < b->family ? -1 : 1;
    int address = memcmp(a->address, b->address, sizeof a->address);
    if (address != 0)
        return address;
    if (a->port != b->port)
        return a->port < b->port ? -1 : 1;
    return a->weight == b->weight ? 0 : a->weight < b->weight ? -1 : 1;
}

/* A copy with paths sorted and unused bytes zero, so that equal sets are equal bytes. */
static void canonical(const struct rib_nexthops *set, struct rib_nexthops *out)
{
    memset(out, 0, sizeof *out);
    out->kind = set->kind;
    out->paths = set->paths;
    for (uint32_t i = 0; i < set->paths; i++) {
        struct rib_path path = {.family = set->path[i].family,
                                .port = set->path[i].port,
                                .weight = set->path[i].weight};
        uint32_t at = i;
        memcpy(path.address, set->path[i].address, sizeof path.address);
        for (; at > 0 && path_order(&path, &out->path[at - 1]) < 0; at--)
            out->path[at] = out->path[at - 1];
        out->path[at] = path;
    }
}

static uint32_t content_hash(const struct rib_nexthops *sorted)
{
    const uint8_t *bytes = (const uint8_t *)sorted + offsetof(struct rib_nexthops, kind);
    size_t n = sizeof *sorted - offsetof(struct rib_nexthops, kind) -
               (RIB_MAX_PATHS - sorted->paths) * sizeof(struct rib_path);
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3u;
    return (uint32_t)(hash ^ hash >> 32);
}

static int set_valid(const struct rib_nexthops *set)
{
    if (set->paths > RIB_MAX_PATHS || set->kind == FIB_KIND_NONE ||
        set->kind > FIB_KIND_BROADCAST || (set->kind == FIB_KIND_FORWARD && set->paths == 0))
        return 0;
    for (uint32_t i = 0; i < set->paths; i++) {
        const struct rib_path *path = &set->path[i];
        if ((path->family != 0 && path->family != 4 && path->family != 6) || path->weight == 0 ||
            (path->port >= FIB_MAX_PORTS && path->port != RIB_ANY_PORT))
            return 0;
    }
    return 1;
}

/* ---- the index by content ---- */

static void index_add(struct rib *rib, uint32_t id)
{
    struct rib_nexthops stored, sorted;
    rib_nexthop_get(rib, id, &stored);
    canonical(&stored, &sorted);
    uint32_t hash = content_hash(&sorted), *head = &rib->intern_head[hash & rib->intern_mask];
    rib->intern_hash[id] = hash;
    rib->intern_next[id] = *head;
    *head = id;
}

static void index_remove(struct rib *rib, uint32_t id)
{
    uint32_t *link = &rib->intern_head[rib->intern_hash[id] & rib->intern_mask];
    while (*link != id)
        link = &rib->intern_next[*link];
    *link = rib->intern_next[id];
}

/* The lowest id of an equal set (there may be two, see rib_nexthop_intern); 0: none. */
static uint32_t index_find(const struct rib *rib, const struct rib_nexthops *sorted)
{
    uint32_t hash = content_hash(sorted), id = rib->intern_head[hash & rib->intern_mask];
    uint32_t found = 0;
    for (; id != 0; id = rib->intern_next[id]) {
        struct rib_nexthops stored, other;
        if (rib->intern_hash[id] != hash)
            continue;
        rib_nexthop_get(rib, id, &stored);
        canonical(&stored, &other);
        if (memcmp(&other, sorted, sizeof other) == 0 && (found == 0 || id < found))
            found = id;
    }
    return found;
}

/* ---- nodes ---- */

static uint32_t node_take(struct rib *rib)
{
    uint32_t index = rib->free_node;
    if (index != 0)
        rib->free_node = rib->node[index].next;
    else if (rib->fresh_node <= rib->max_nodes + 1)
        index = rib->fresh_node++;
    rib->count.nodes += index != 0;
    return index;
}

static void nodes_give(struct rib *rib, uint32_t index)
{
    while (index != 0) {
        uint32_t next = rib->node[index].next;
        rib->node[index].next = rib->free_node;
        rib->free_node = index;
        rib->count.nodes--;
        index = next;
    }
}

/* Builds the chain of a set from its last path to its first; 0: no room. */
static uint32_t nodes_build(struct rib *rib, const struct rib_nexthops *set, uint32_t state)
{
    uint32_t next = 0, i = set->paths > 0 ? set->paths : 1;
    while (i-- > 0) {
        uint32_t index = node_take(rib);
        if (index == 0) {
            nodes_give(rib, next);
            return 0;
        }
        struct rib_node *node = &rib->node[index];
        memset(node, 0, sizeof *node);
        if (i < set->paths) {
            memcpy(node->address, set->path[i].address, sizeof node->address);
            node->port = set->path[i].port;
            node->weight = set->path[i].weight;
            node->family = set->path[i].family;
        }
        node->kind = set->kind;
        node->count = (uint8_t)set->paths;
        node->state = state;
        node->next = next;
        next = index;
    }
    RC_FAULT("rib-nodes-built");
    return next;
}

/* ---- public ---- */

int rib_nexthop_put(struct rib *rib, const struct rib_nexthops *set)
{
    uint32_t id = set->id;
    if (id == 0 || id >= rib->max_nexthops || !set_valid(set))
        return -EINVAL;
    uint32_t old = rib->directory[id];
    uint32_t nodes = nodes_build(rib, set, old ? rib->node[old].state : 0);
    if (nodes == 0)
        return -ENOSPC;
    if (old != 0)
        index_remove(rib, id);
    store_release32(&rib->directory[id], nodes);
    RC_FAULT("rib-directory-stored");
    nodes_give(rib, old);
    rib->nexthop_flags[id] |= NEXTHOP_KNOWN;
    rib->count.nexthops += old == 0;
    index_add(rib, id);
    return 0;
}

/* 0: none. Ids in turn, not the lowest free one: a number is used again as late as possible. */
static uint32_t free_id(struct rib *rib)
{
    uint32_t first = rib->max_nexthops > RIB_POPULAR ? RIB_POPULAR : 1;
    uint32_t ids = rib->max_nexthops - first;
    uint32_t start = rib->intern_hint >= first ? rib->intern_hint - first : 0;
    for (uint32_t i = 0; i < ids; i++) {
        uint32_t id = first + (start + i) % ids;
        if (rib->directory[id] == 0) {
            rib->intern_hint = id + 1;
            return id;
        }
    }
    return 0;
}

/* 0: none. */
static uint32_t free_popular_id(const struct rib *rib)
{
    for (uint32_t id = 1; id < RIB_POPULAR && id < rib->max_nexthops; id++)
        if (rib->directory[id] == 0)
            return id;
    return 0;
}

int rib_nexthop_intern(struct rib *rib, struct rib_nexthops *set, int popular)
{
    struct rib_nexthops sorted;
    if (!set_valid(set))
        return -EINVAL;
    canonical(set, &sorted);
    uint32_t id = index_find(rib, &sorted);
    uint32_t fresh = popular && (id == 0 || id >= RIB_POPULAR) ? free_popular_id(rib) : 0;
    if (fresh == 0 && id == 0) {
        fresh = free_id(rib);
        if (fresh == 0)
            fresh = free_popular_id(rib);
        if (fresh == 0)
            return -ENOSPC;
    }
    if (fresh != 0) {
        id = sorted.id = fresh;
        int error = rib_nexthop_put(rib, &sorted);
        if (error != 0)
            return error;
    }
    set->id = id;
    return 0;
}

int rib_nexthop_get(const struct rib *rib, uint32_t id, struct rib_nexthops *out)
{
    uint32_t index = id < rib->max_nexthops ? rib->directory[id] : 0;
    if (index == 0)
        return -ENOENT;
    const struct rib_node *node = &rib->node[index];
    memset(out, 0, sizeof *out);
    out->id = id;
    out->kind = node->kind;
    out->dead = node->state != 0;
    out->paths = node->count;
    for (uint32_t i = 0; i < out->paths; i++) {
        memcpy(out->path[i].address, node->address, sizeof node->address);
        out->path[i].family = node->family;
        out->path[i].port = node->port;
        out->path[i].weight = node->weight;
        node = &rib->node[node->next];
    }
    return 0;
}

int rib_nexthop_delete(struct rib *rib, uint32_t id)
{
    uint32_t index = id < rib->max_nexthops ? rib->directory[id] : 0;
    if (index == 0)
        return -ENOENT;
    if (rib->refs[id] != 0)
        return -EBUSY;
    index_remove(rib, id);
    store_release32(&rib->directory[id], 0);
    RC_FAULT("rib-directory-cleared");
    nodes_give(rib, index);
    rib->nexthop_flags[id] = 0;
    rib->count.nexthops--;
    return 0;
}

uint32_t rib_nexthop_refs(const struct rib *rib, uint32_t id)
{
    return id < rib->max_nexthops ? rib->refs[id] : 0;
}

uint32_t rib_nexthop_next(const struct rib *rib, uint32_t after)
{
    for (uint32_t id = after + 1; id < rib->max_nexthops; id++)
        if (rib->directory[id] != 0)
            return id;
    return 0;
}

/* ---- for rib_open: walks every set; -EBADMSG when one does not hold together ---- */

static int set_walk(const struct rib *rib, uint32_t id, uint64_t *seen, uint32_t *high)
{
    uint32_t index = rib->directory[id], nodes = 0, want = 0;
    for (; index != 0; index = rib->node[index].next, nodes++) {
        if (index > rib->max_nodes + 1 || slot_seen(seen, index) || nodes >= RIB_MAX_PATHS)
            return -EBADMSG;
        slot_see(seen, index);
        want = nodes == 0 ? rib->node[index].count : want;
        *high = index > *high ? index : *high;
    }
    return nodes == (want > 0 ? want : 1) ? (int)nodes : -EBADMSG;
}

int nexthops_open(struct rib *rib, uint64_t *reclaimed, uint64_t *seen)
{
    uint32_t high = 0;
    for (uint32_t id = 1; id < rib->max_nexthops; id++) {
        struct rib_nexthops set;
        if (rib->directory[id] == 0)
            continue;
        int nodes = set_walk(rib, id, seen, &high);
        if (nodes < 0)
            return nodes;
        rib_nexthop_get(rib, id, &set);
        if (!set_valid(&set))
            return -EBADMSG;
        rib->nexthop_flags[id] = (uint8_t)(NEXTHOP_KNOWN | (set.dead ? NEXTHOP_DEAD : 0));
        rib->count.nexthops++;
        rib->count.nodes += (uint32_t)nodes;
        index_add(rib, id);
    }
    rib->fresh_node = high + 1;
    for (uint32_t index = high; index > 0; index--) {
        if (slot_seen(seen, index))
            continue;
        rib->node[index].next = rib->free_node;
        rib->free_node = index;
        ++*reclaimed;
    }
    return 0;
}
