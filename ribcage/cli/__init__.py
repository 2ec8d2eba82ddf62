"""The command line: a thin client of the management socket, one file an object.

`main.py` starts it, `app.py` is the tree of commands, `session.py` one run of one (with
`client.py`, `options.py`). `words.py` and `reasons.py` hold what is said, `answer/` writes it.
It may read the config and ask the router; it opens no segment. Heavy modules are imported in the
commands that need them.
Begin with main.py.
"""
