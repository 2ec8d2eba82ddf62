"""How a supervisor begins: on firm ground, detached if it is a daemon, and not at all if it cannot.

`footing.py` sets what a process inherits; `daemon.py` detaches, and waits for the verdict;
`beginning.py` says which failures end a start, `lives.py` begins and ends a whole life.
Begin with footing.py.
"""
