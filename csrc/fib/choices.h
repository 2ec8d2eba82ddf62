/* Which engines and strategies this build has, by number and by name: for those who offer the
 * choice (configuration, benchmark) and never list it themselves. Constant; any process. */
#ifndef RC_FIB_CHOICES_H
#define RC_FIB_CHOICES_H
#include "base/base.h"

enum { FIB_CHOICES = 32 }; /* numbers to ask for: 1..FIB_CHOICES-1 */

/* The engine's name, or NULL: no such number, or it does not serve this family (4, 6). */
const char *fib_engine_name(uint32_t id, uint8_t family);
/* The strategy's name, or NULL. */
const char *fib_strategy_name(uint32_t id);

#endif
