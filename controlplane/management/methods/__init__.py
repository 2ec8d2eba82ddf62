"""The methods of the management socket: one file a subject, listed in table.py.

system: version, ping, stop, reload, processes, faults. route: list, get, add, del. load: bulk
loads. packet: explain. fib: show and verify. workers: counters and drops. neighbour, ipc: lists.

They check params and give JSON values; what they change, they ask routes/ to change.
Begin with method.py.
"""
