"""The kinds of faults, a family a file; each says what it does, what may be lost, and for how long.

`kind.py` is what a kind is; `table.py` lists all of them and those that the short run draws from.
A kind gets a Scene: it says when it begins, does the harm, and returns when it has taken away
what it held. It never waits for the router: the engine does.
Begin with kind.py.
"""
