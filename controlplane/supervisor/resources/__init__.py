"""What the supervisor opens and keeps, so that no child has to: it all outlives any of them.

`objects.py`: semaphore and queue, by name and recorded before they exist, and stats objects, which
have no name. `bells.py`: how control and workers wake each other. `ports.py`: packet sockets and
their rings, one a port and worker. `folders.py`, `segments.py`: whose the files and tables are, put
right before each control. `descriptors.py`: room for all of them.
Begin with objects.py.
"""
