"""The methods of the management socket: one file a subject, listed in table.py.

system: version, ping, stop, reload, processes, faults. route: list, get, add, del. load: bulk
loads. packet: explain. fib: show and verify. workers: counters and drops. neighbour, ipc: lists.

Uses: what stands below management/ (see controlplane's text). It only reads and asks: routes are
changed by routes/requests.py and routes/loads.py. Begin with method.py.
"""
