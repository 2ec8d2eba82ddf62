"""The supervisor: opens what needs privilege, forks control and workers, keeps them alive.

It may open packet sockets, stats objects, bells and the FIB (read-only), keep a copy of each
descriptor and hand them over; fork, reap, restart with back-off. It may not hold routes, parse
what comes from the network, nor import asyncio, pyroute2 or the like: it forks, so it stays
single-threaded and small (20 MB).

Imports: shared.

`start/lives.py` begins a life and ends it, `run.py` wires the parts together; `context.py` is what
they share. `children/` are the processes: slots, births, deaths, adoption. `resources/` are what
they are handed: IPC objects, packet sockets. `messages.py` is what children say, `handover.py` what
they are told; `reloading.py`, `stopping.py`: a reload and the end. `upgrade/`: another build.
Begin with run.py, then children/table.py.
"""
