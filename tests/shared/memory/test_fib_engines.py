"""The words of the configuration are the engines and strategies of the build, both ways."""

import pytest
from pydantic import ValidationError

from ribcage.controlplane.config.model import FibSection
from ribcage.controlplane.fib.segment.create import FibParams
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.fib_engines import default_engine, engine_id, engine_name, engines
from ribcage.shared.memory.fib_sync import (
    DEFAULT_STRATEGY,
    STRATEGIES,
    TEACHING,
    refuse_untaught,
    strategy_name,
)
from ribcage.shared.plan import FibPlan
from tests.model.fib_memory import FibMemory

WORDS = {"lookup4": engines(4), "lookup6": engines(6), "sync": STRATEGIES}


@pytest.mark.parametrize("key", WORDS)
def test_the_configuration_offers_what_the_build_has(key: str) -> None:
    """Every word of the C tables is taken, any other is refused with the list."""
    for word in WORDS[key]:
        assert getattr(FibSection.model_validate({key: word}), key) == word
    with pytest.raises(ValidationError) as refused:
        FibSection.model_validate({key: "poptrie"})
    assert f"is not one of: {', '.join(WORDS[key])}" in str(refused.value)


def test_the_first_of_each_table_is_the_default_everywhere() -> None:
    """A plan, a configuration and a segment that say nothing agree with the C tables' order."""
    said = FibSection()
    assert (said.lookup4, said.lookup6) == (default_engine(4), default_engine(6))
    assert said.sync == DEFAULT_STRATEGY
    plan = FibPlan()
    for family, name in ((4, plan.lookup4), (6, plan.lookup6)):
        assert engine_id(family, name) == engine_id(family, default_engine(family))
    with FibMemory(FibParams(max_routes4=16, max_routes6=16, max_groups=16)) as fib:
        made = fib.header.geometry
        assert engine_name(made.engine4, 4) == default_engine(4)
        assert engine_name(made.engine6, 6) == default_engine(6)
        assert strategy_name(made.strategy) == DEFAULT_STRATEGY


def test_a_strategy_that_answers_wrongly_is_for_lessons() -> None:
    """Exactly those that the table marks so are refused, unless that is the lesson."""
    assert TEACHING
    for sync in STRATEGIES:
        refuse_untaught(sync, teach=True)
        if sync not in TEACHING:
            refuse_untaught(sync, teach=False)
            continue
        with pytest.raises(RibcageError) as refused:
            refuse_untaught(sync, teach=False)
        assert refused.value.code == "E_TEACH"


def test_an_engine_this_build_lacks_is_refused_with_the_list() -> None:
    """A plan of another build: E_ENGINE names what there is; so does one of the other family."""
    for family, name in ((4, "poptrie"), (6, "compact")):
        with pytest.raises(RibcageError) as refused:
            engine_id(family, name)
        assert refused.value.code == "E_ENGINE"
        assert all(word in str(refused.value.hint) for word in engines(family))
    assert engine_name(2, 6) is None
    assert engine_name(31, 4) is None
