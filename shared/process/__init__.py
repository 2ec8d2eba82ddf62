"""What processes say to each other, and under which names.

`channel.py` is supervisor and child, one `message.py` a datagram; `reconnect.py` finds the next
supervisor. `events.py` is worker to control. `names.py` has the names of all objects and files,
`log.py` writes lines, `seldom.py` fewer of them, `rights.py` gives rights up. No call here blocks.
Begin with channel.py.
"""
