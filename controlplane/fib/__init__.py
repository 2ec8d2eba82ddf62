"""From a changed best path to a published forwarding table: the only room that writes the FIB.

`publisher.py` is a route's way: batches, generations, who is told. `steps.py` stores rows and
words. `forwarding.py` keeps ports, adjacencies and groups, whose records are in `records.py`.
`entries.py` is which routes have an entry at all, `aggregation.py`
what leaves some out. `reconcile.py`, `compare.py` and `verify.py` hold the tables against each
other. `segment/` is the memory and its one writer.

Imports: rib, values, shared.

It may write the FIB segment, inside the writer's semaphore. Control only, one thread.
Begin with publisher.py.
"""
