"""How a supervisor begins: on firm ground, detached if it is a daemon, and not at all if it cannot.

`footing.py` sets what a process inherits; `daemon.py` is told what to begin, and says how it went;
`beginning.py` says which failures end a start, `lives.py` begins and ends a whole life. What is
done before its turn: `early.py` has control load while the configuration is checked (`waiting.py`;
`becoming.py` tells it what it is), and `rings.py` makes the first rings. Begin with footing.py.
"""
