"""Benchmarks: one TCP flow, takeover of control, aggregation, and in `fib/` the lookup engines.

`tcp.py` is `make bench`; `takeover.py` and `aggregate.py` run by `python -m`. Each prints what it
measured and on what; none changes the host beyond its own namespaces and segments.
Begin with tcp.py.
"""
