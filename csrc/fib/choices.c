/* Engines and strategies by name, out of their own tables. See choices.h. */
#include "engines/engine.h"
#include "fib/choices.h"
#include "sync/strategy.h"

const char *fib_engine_name(uint32_t id, uint8_t family)
{
    const struct lpm_engine *engine = family == 4 || family == 6 ? lpm_engine_for(id, family) : NULL;
    return engine != NULL ? engine->name : NULL;
}

const char *fib_strategy_name(uint32_t id)
{
    const struct fib_sync *strategy = fib_sync_of(id);
    return strategy != NULL ? strategy->name : NULL;
}
