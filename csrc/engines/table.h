/* The lookup engines of this build: their numbers, their order, their names. The one list.
 *
 * Use: those who offer the choice (configuration, benchmark, help) ask fib_engine_at() and
 * fib_engine_name() and never list engines themselves. The first that serves a family is what a
 * segment gets when nobody says which. A new engine: a line here, a folder
 * beside this file, a section of docs/engines.md (see docs/extending.md). Constant; any process.
 */
#ifndef RC_ENGINES_H
#define RC_ENGINES_H
#include "base/base.h"

/* ENGINE(name, constant, number): the default of a family stands before the others of it. Numbers
 * are stored in segments: never reuse one. */
#define ENGINES(ENGINE)                                                                          \
    ENGINE(compact, FIB_ENGINE_COMPACT, 2)                                                       \
    ENGINE(flat, FIB_ENGINE_FLAT, 3)                                                             \
    ENGINE(interval, FIB_ENGINE_INTERVAL, 4)                                                     \
    ENGINE(multibit, FIB_ENGINE_MULTIBIT, 1)                                                     \
    ENGINE(binary, FIB_ENGINE_BINARY, 5)

#define ENGINE_NUMBER(name, constant, number) constant = number,
enum fib_engine { ENGINES(ENGINE_NUMBER) };

/* Number of the engine at a position, 0, 1, .., of those that serve a family (4, 6), the default
 * first; 0 behind the last. */
uint32_t fib_engine_at(uint32_t position, uint8_t family);
/* Its name, or NULL: no such number, or it does not serve this family. */
const char *fib_engine_name(uint32_t id, uint8_t family);

#if RC_INLINE_SECTION

struct lpm_engine; /* engine.h */

/* lpm_compact, lpm_flat, ..: each defined in its folder. */
#define ENGINE_ENTRY(name, constant, number) extern const struct lpm_engine lpm_##name;
ENGINES(ENGINE_ENTRY)

/* NULL for a number this build does not know. */
const struct lpm_engine *lpm_engine(uint32_t id);
/* The same, and NULL for an engine that does not serve this family. */
const struct lpm_engine *lpm_engine_for(uint32_t id, uint8_t family);
/* Every engine once, by position; NULL behind the last. */
const struct lpm_engine *lpm_engine_listed(uint32_t position);

#endif
#endif
