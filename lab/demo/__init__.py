"""`make demo`: packets cross a router, its processes are killed, everything balances.

`demo.py` is the run, `steps.py` what it shows, `keep.py` leaves the lab up or takes it down.
It makes namespaces of its own and touches nothing else of the host.
Begin with demo.py.
"""
