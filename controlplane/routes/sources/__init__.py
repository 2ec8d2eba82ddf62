"""Where routes come from: one file a source, one line each in table.py.

`contract.py` says what a source is and what it may look at. `connected.py`, `static.py` and
`neighbour.py` turn the links and the plan into wanted routes; `runtime.py` names what clients
add. Pure: no file here reads a clock, a socket or a segment.
Begin with contract.py.
"""
