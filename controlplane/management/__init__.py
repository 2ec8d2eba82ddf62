"""The management socket: requests of the command line and other clients, one JSON line each.

`protocol.py` is the wire as pure functions, `listener.py` the socket in the file system,
`peer.py` who is asking and what that user may do, `clients/` who is served and whose turn it is,
`dispatch.py` from a line to its reply, `server.py` the whole. `methods/` has the methods,
`router.py` what they see of the process; `listing.py`, `explain.py` and `proc.py` make their longer
answers. For `explain`, `question.py` makes a frame of words and `decision.py` asks the code that
forwards.

Imports: routes, rib, workers, values, shared.

It may serve a Unix socket and read everything; it changes routes only through routes/. Part of
the control process; the client side is shared/management.py.
Begin with server.py, then methods/method.py.
"""
