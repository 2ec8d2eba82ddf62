"""The supervisor: opens what needs privilege, forks control and workers, keeps them alive.

It may open packet sockets, stats objects, bells and the FIB (read-only), keep a copy of each
descriptor and hand them over; fork, reap, restart with back-off. It may not hold routes, parse
what comes from the network, nor import asyncio, pyroute2 or the like: it forks, so it stays
single-threaded and small (20 MB).

Imports: shared.

`run.py` wires the parts together and is a life from start to end; `context.py` is what they
share. `children/` are the processes: slots, births, deaths, adoption. `resources/` are what they
are handed: IPC objects, packet sockets. `messages.py` is what children say, `handover.py` what
they are told; `reloading.py` and `stopping.py` are a reload and the end.
Begin with run.py, then children/table.py.
"""
