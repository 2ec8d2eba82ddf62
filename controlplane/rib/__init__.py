"""The routing table: every candidate of every source, in a segment that outlives control.

`segment.py` is the table (class Rib), `records.py` the values that go in and out, `results.py`
what its calls answer, `mapping.py` the shared memory under it. Best path is C: csrc/rib/.

Imports: values, shared.

Only the control process that holds the control lock opens it. A row stored is acknowledged.
Begin with segment.py.
"""
