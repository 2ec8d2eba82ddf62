"""The words of the configuration are the engines of the build, both ways."""

import pytest

from ribcage.controlplane.config.model import LOOKUPS4, LOOKUPS6
from ribcage.controlplane.fib.segment.create import FibParams
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.fib_engines import engine_id, engine_name, engines
from ribcage.shared.plan import FibPlan


@pytest.mark.parametrize(("family", "words"), [(4, LOOKUPS4), (6, LOOKUPS6)])
def test_the_configuration_offers_what_the_build_has(family: int, words: tuple[str, ...]) -> None:
    """No engine is left out and none is promised; the default is the segment's own."""
    known = engines(family)
    assert set(words) == set(known)
    assert {engine_name(number, family) for number in known.values()} == set(words)
    default = getattr(FibPlan(), f"lookup{family}")
    assert words[0] == default
    assert known[default] == getattr(FibParams(), f"engine{family}")


def test_an_engine_this_build_lacks_is_refused_with_the_list() -> None:
    """A plan of another build: E_ENGINE names what there is; so does one of the other family."""
    for family, name in ((4, "poptrie"), (6, "compact")):
        with pytest.raises(RibcageError) as refused:
            engine_id(family, name)
        assert refused.value.code == "E_ENGINE"
        assert all(word in str(refused.value.hint) for word in engines(family))
    assert engine_name(2, 6) is None
    assert engine_name(31, 4) is None
