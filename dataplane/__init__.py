"""The processes that forget: forked workers. Imports shared alone.

`worker.py` is the process, `process.py` what it knows and is told, `link.py` its end of the
channel, `forwarder.py` the C worker as an object (csrc/worker/), where frames are forwarded,
held and dropped. `sockets.py` runs in the supervisor, which opens the packet sockets.

A worker maps the FIB read-only, writes its own stats object and keeps no capability.
Begin with worker.py.
"""
