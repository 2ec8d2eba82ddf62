"""The supervisor: opens what needs privilege, forks control and workers, keeps them alive.

It may open packet sockets, stats objects, bells and the FIB (read-only), keep a copy of each
descriptor and hand them over; fork, reap, restart with back-off. It may not hold routes, parse
what comes from the network, nor import asyncio, pyroute2 or the like: it forks, so it stays
single-threaded and small (20 MB). Reading order: run.py, table.py, start.py, messages.py.
"""
