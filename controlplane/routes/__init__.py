"""What changes routes: sources of them, links, clients, and the next hops behind them all.

`core.py` holds control's state and the operations on all of it. `sources/` say what routes there
should be, `source_sync.py` makes it so in the RIB. `requests.py` and `loads.py` (with
`load_commit.py`) are clients' changes. `links.py` and `link_neighbours.py` turn the kernel's
events into ports, neighbours and routes. `nexthops.py` numbers the sets of next hops.

Imports: fib, rib, workers, kernel, values, shared.

It may change RIB and FIB, through rib/ and fib/ alone. Control only, one thread.
Begin with core.py, then sources/contract.py.
"""
