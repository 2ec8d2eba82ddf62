"""Ribcage: a router whose planes are separate processes.

This folder is the installed package: the command (`cli/`) and the composition root (`roles.py`),
the only place that imports both planes. `controlplane`, `dataplane`, `shared` and `lab` are links
to the folders beside it, so that imports can be followed like any others.
Begin with roles.py.
"""

from ribcage.shared.build import VERSION as __version__

__all__ = ["__version__"]
