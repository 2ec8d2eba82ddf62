"""The management socket: requests of the command line and other clients, one JSON line each.

`protocol.py` is the wire as pure functions, `listener.py` the socket in the file system,
`peer.py` who is asking, `connection.py` one client, `dispatch.py` from a line to its
reply, `server.py` the whole. The methods themselves
are control's. Part of the control process; the client side is ribcage.shared.management.
"""
