"""All sources of routes, one line each, in the order in which they are announced again.

The names are those of `route show --source` and of its `protocol`; numbers and distances stand in
the sources' files. A neighbour's place is on a connected network, hence the order.
"""

from ribcage.controlplane.routes.sources.connected import CONNECTED
from ribcage.controlplane.routes.sources.contract import Source
from ribcage.controlplane.routes.sources.neighbour import NEIGHBOUR
from ribcage.controlplane.routes.sources.recovered import RECOVERED
from ribcage.controlplane.routes.sources.runtime import RUNTIME
from ribcage.controlplane.routes.sources.static import STATIC

SOURCES: tuple[Source, ...] = (
    CONNECTED,
    STATIC,
    RUNTIME,
    NEIGHBOUR,
    Source(5, "kernel"),  # two numbers and words that are taken: no other source may have them
    Source(6, "fpm"),
    RECOVERED,
)
NUMBERS: dict[str, int] = {source.name: source.number for source in SOURCES}
_NAMES: dict[int, str] = {source.number: source.name for source in SOURCES}
FORMERLY = {"runtime": RUNTIME.name}  # what requests of older clients say

# Those that can be asked again when a link, an address or the plan changes.
OFFERING: tuple[Source, ...] = tuple(source for source in SOURCES if source.offer is not None)


def source_name(number: int) -> str:
    """The name of a number; the number itself when it is another build's."""
    return _NAMES.get(number) or str(number)
