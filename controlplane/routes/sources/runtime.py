"""Routes that somebody asks for at run time: `route add` and `route load`. See requests.py.

Equal in distance to a static route: the metric decides between them, then the lower number, so
that what the config file says stays.
"""

from ribcage.controlplane.routes.sources.contract import Source

RUNTIME = Source(3, "added", distance=1)
