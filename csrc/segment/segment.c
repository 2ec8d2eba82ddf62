/* See segment.h. */
#include "segment/segment.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* FNV-1a, 64 bits: small, good enough to tell a torn line from a whole one, and to fold
 * names and offsets into one layout number. Not meant against an adversary. */
enum { FNV_BYTES_AT = 8, FNV_BYTES_END = 56 };
static const uint64_t FNV_BASIS = 0xcbf29ce484222325u;
static const uint64_t FNV_PRIME = 0x100000001b3u;

static uint64_t fnv_bytes(uint64_t hash, const void *data, size_t length)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ p[i]) * FNV_PRIME;
    return hash;
}

static uint64_t fnv_list(uint64_t hash, const struct layout *list)
{
    for (uint64_t i = 0; i < list->items; i++) {
        const struct layout_item *item = &list->item[i];
        hash = fnv_bytes(hash, item->name, strlen(item->name) + 1);
        hash = fnv_bytes(hash, &item->at, sizeof item->at);
        hash = fnv_bytes(hash, &item->bytes, sizeof item->bytes);
    }
    return hash;
}

/* 0: a part has no list. */
static uint64_t layout_id(const struct segment_format *format)
{
    uint64_t hash = FNV_BASIS;
    const struct layout *list;
    for (uint32_t i = 0; (list = format->part(i)) != NULL; i++) {
        if (list->items == 0)
            return 0;
        hash = fnv_list(hash, list);
    }
    return hash;
}

int segment_expected(const struct segment_format *format, struct segment_expect *out)
{
    memset(out, 0, sizeof *out);
    if (format == NULL)
        return -EINVAL;
    *out = (struct segment_expect){
        .magic = format->magic,
        .layout_id = layout_id(format),
        .kind = format->kind,
        .header_size = format->header_size,
        .major = format->major,
        .minor = format->minor,
        .incompat_known = format->incompat_known,
    };
    return out->layout_id == 0 ? -EINVAL : 0;
}

static uint64_t identity_checksum(const struct segment_identity *identity)
{
    return fnv_bytes(FNV_BASIS, (const uint8_t *)identity + FNV_BYTES_AT,
                     FNV_BYTES_END - FNV_BYTES_AT);
}

int segment_identify(void *base, uint64_t size, const struct segment_format *format,
                     uint64_t instance_id)
{
    struct segment_expect expect;
    struct segment_identity *identity = base;
    if (segment_expected(format, &expect) != 0 || size < expect.header_size)
        return -EINVAL;
    identity->major = expect.major;
    identity->minor = expect.minor;
    identity->header_size = expect.header_size;
    identity->layout_id = expect.layout_id;
    identity->instance_id = instance_id;
    identity->segment_size = size;
    identity->compat = 0;
    identity->incompat = 0;
    identity->kind = expect.kind;
    identity->creator_pid = (uint32_t)getpid();
    identity->checksum = identity_checksum(identity);
    RC_FAULT("segment-before-magic");
    /* Release: whoever sees the magic sees everything the creator wrote before. */
    store_release64(&identity->magic, expect.magic);
    return 0;
}

int segment_check(const void *base, uint64_t mapped, const struct segment_format *format)
{
    struct segment_expect expect;
    const struct segment_identity *identity = base;
    if (mapped < sizeof *identity || segment_expected(format, &expect) != 0)
        return SEGMENT_INITIALISING;
    uint64_t magic = load_acquire64(&identity->magic);
    if (magic == 0)
        return SEGMENT_INITIALISING;
    if (magic != expect.magic || identity->kind != expect.kind || identity->major != expect.major ||
        identity->layout_id != expect.layout_id || identity->header_size != expect.header_size ||
        identity->segment_size > mapped || identity->segment_size < expect.header_size ||
        (identity->incompat & ~expect.incompat_known) != 0 ||
        identity->checksum != identity_checksum(identity))
        return SEGMENT_FOREIGN;
    return SEGMENT_READY;
}
