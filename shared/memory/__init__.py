"""What processes share in memory, seen from Python; declared in csrc/layout/*.h.

`segment.py` makes and maps segments, `identity.py` says whether one is ours. `fib.py` reads the
FIB (`fib_records.py`: its records, `fib_engines.py` and `fib_sync.py`: what it was made with),
`stats.py` is a worker's counters, `rows.py` routes in bulk. Who may write what stands there.
Begin with segment.py.
"""
