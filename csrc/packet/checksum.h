/* The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
 *
 * Use: checksum_finish(checksum_partial(data, length, 0)) is what goes into the header with the
 * field zeroed; over data that includes a right field it is 0. Sums are in memory order, so the
 * result is stored with memcpy and no byte swap. Blocks may be chained through `sum` as long as
 * every block but the last has an even length. Data may start at any address.
 */
#ifndef RC_CHECKSUM_H
#define RC_CHECKSUM_H
#include "base/base.h"

/* One's-complement sum of the bytes, added to `sum`; not folded. */
uint32_t checksum_partial(const void *data, uint32_t length, uint32_t sum);
/* Folds to 16 bits. */
uint16_t checksum_fold(uint32_t sum);
/* ~fold: the header's value. */
uint16_t checksum_finish(uint32_t sum);
/* The checksum after one 16-bit word went from `before` to `after` (memory order);
 * RFC 1624 eqn. 3, which unlike RFC 1141 never turns a right 0x0000 into 0xffff. */
uint16_t checksum_update(uint16_t check, uint16_t before, uint16_t after);
/* The sum of an IPv4 or IPv6 pseudo-header; family 4 or 6, length of the transport packet. */
uint32_t checksum_pseudo(uint32_t family, const uint8_t *source, const uint8_t *target,
                         uint32_t protocol, uint32_t length);

#endif
