"""Routers that nobody can be asked about: without a supervisor, without control, or all dead.

`remains.py` looks at state file, lock and /proc, and removes what is left; `ending.py` ends the
processes first; `inside.py` does it in the namespaces where they are. For `ps`, `stop`, `gc` and
`undo`. Begin with remains.py.
"""
