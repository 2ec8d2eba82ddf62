"""The workers as control sees them: it reads what they say and waits for none of them.

`workers.py` has their slots: stats objects, bells (`bell.py`), states. `visible.py` says who uses
a change, `stats.py` makes reports of their counters, `events.py` takes what they send (with
`event_sequence.py`, which finds what is missing), `misses.py` whom they wait for.

Whatever a worker writes or sends is its word: bounded where it is read, checked where it is used
(docs/threat-model.md).

Imports: values, shared.

It may read stats objects and the queue, and ring bells. Control only.
Begin with workers.py.
"""
