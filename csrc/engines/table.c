/* See table.h. Asked at attaching and at creation, never by a lookup. */
#include "engines/table.h"
#include "engines/engine.h"

#define ENGINE_LISTED(name, constant, number) &lpm_##name,
static const struct lpm_engine *const engines[] = {ENGINES(ENGINE_LISTED)};

const struct lpm_engine *lpm_engine_listed(uint32_t position)
{
    return position < sizeof engines / sizeof engines[0] ? engines[position] : NULL;
}

const struct lpm_engine *lpm_engine(uint32_t id)
{
    const struct lpm_engine *engine;
    for (uint32_t i = 0; (engine = lpm_engine_listed(i)) != NULL; i++)
        if (engine->id == id)
            return engine;
    return NULL;
}

static int serves(const struct lpm_engine *engine, uint8_t family)
{
    return (family == 4 && (engine->families & LPM_IPV4) != 0) ||
           (family == 6 && (engine->families & LPM_IPV6) != 0);
}

const struct lpm_engine *lpm_engine_for(uint32_t id, uint8_t family)
{
    const struct lpm_engine *engine = lpm_engine(id);
    return engine != NULL && serves(engine, family) ? engine : NULL;
}

uint32_t fib_engine_at(uint32_t position, uint8_t family)
{
    const struct lpm_engine *engine;
    for (uint32_t i = 0; (engine = lpm_engine_listed(i)) != NULL; i++)
        if (serves(engine, family) && position-- == 0)
            return engine->id;
    return 0;
}

const char *fib_engine_name(uint32_t id, uint8_t family)
{
    const struct lpm_engine *engine = lpm_engine_for(id, family);
    return engine != NULL ? engine->name : NULL;
}
