"""The routing table: every candidate of every source, in a segment that outlives control.

`segment.py` is the table (class Rib), `records.py` the values that go in and out, `mapping.py`
the shared memory under it. Only the control process that holds the control lock opens it.
"""
