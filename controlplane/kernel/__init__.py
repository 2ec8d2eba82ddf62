"""Everything control does with the kernel: it hears, it changes, and it can take back.

`kernel.py` is the face. `dispatcher.py` tells control what the kernel says (as `events.py`), out
of the tables `links.py` and `neighbours.py`. `provisioner.py` keeps ports and the host port
(`ports.py`, `rchost.py`) as the plan wants them, `resolver.py` has neighbours resolved,
`guard.py` keeps the kernel from forwarding. `netlink/` is the wire, `changes/` the journal of
what was changed and its undoing.

Imports: shared.

It may change interfaces, sysctls and the packet filter of its namespace, each journalled before.
Begin with kernel.py.
"""
