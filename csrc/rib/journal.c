/* The journal: which prefixes were decided and are perhaps not in the FIB. See layout/rib_layout.h.
 *
 * The numbers `changed` and `published` only grow; entry n lies at n % RIB_JOURNAL. The ring is
 * whole while fewer than RIB_JOURNAL entries are open: with one more, writing the next entry
 * would touch the oldest open one before `changed` tells of it.
 */
#include <errno.h>

#include "rib/private.h"

void journal_append(struct rib *rib, const struct route_row *key)
{
    struct rib_words *words = &rib->header->words;
    uint64_t n = words->changed;
    struct rib_journal_entry *entry = &rib->journal[n % RIB_JOURNAL];
    memcpy(entry->prefix, key->prefix, 16);
    entry->length = key->length;
    entry->family = key->family;
    RC_FAULT("rib-journal-entry");
    store_release64(&words->changed, n + 1);
    RC_FAULT("rib-journal-changed");
}

uint64_t rib_changed(const struct rib *rib)
{
    return rib->header->words.changed;
}

int rib_published(struct rib *rib, uint64_t mark)
{
    struct rib_words *words = &rib->header->words;
    if (mark > words->changed)
        return -EINVAL;
    if (mark <= words->published)
        return 0;
    RC_FAULT("rib-published-before");
    store_release64(&words->published, mark);
    RC_FAULT("rib-published-after");
    return 0;
}

void rib_republish_all(struct rib *rib)
{
    struct rib_words *words = &rib->header->words;
    store_release64(&words->changed, words->changed + RIB_JOURNAL);
}

int rib_pending(const struct rib *rib, uint64_t *cursor, struct route_row *rows, uint32_t max)
{
    const struct rib_words *words = &rib->header->words;
    uint32_t n = 0;
    if (words->changed - words->published >= RIB_JOURNAL)
        return -EOVERFLOW;
    if (max > INT32_MAX)
        max = INT32_MAX;
    if (*cursor < words->published)
        *cursor = words->published;
    for (; *cursor < words->changed && n < max; ++*cursor, n++) {
        const struct rib_journal_entry *entry = &rib->journal[*cursor % RIB_JOURNAL];
        struct rib_route best;
        struct route_row key;
        memset(&key, 0, sizeof key);
        memcpy(key.prefix, entry->prefix, 16);
        key.length = entry->length;
        key.family = entry->family;
        rows[n] = rib_best(rib, &key, &best) == 0 ? best.row : key;
        rows[n].flags = 0;
    }
    return (int)n;
}
