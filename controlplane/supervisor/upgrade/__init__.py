"""Hitless upgrade: the supervisor becomes another build in place, then its children one by one.

`upgrading.py` is an upgrade from its request to its end. `check.py` has a child of the new build
read a copy of the state, `trust.py` says whose files it may be. `image.py` is the state as it
crosses, `carry.py` takes it from the parts and puts it back, `reexec.py` is the exec, `resume.py`
what follows in the new image. `moving.py` replaces the children, by `successors.py`, `story.py`
tells all of it, `faults.py` is where tests kill the supervisor.

It may exec, and fork successors of children; it keeps no route. Begin with upgrading.py.
"""
