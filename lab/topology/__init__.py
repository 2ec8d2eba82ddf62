"""Networks out of namespaces, and routers in them, gone when we are.

`namespaces.py` makes hosts and links, kept by `holder.py`; `inside.py` and `carrier.py` run in
one. `router.py` starts, asks and kills a router; `topologies.py` has the networks by name.
Works as root and as a plain user; touches only what it made.
Begin with namespaces.py.
"""
