"""What the supervisor opens and keeps, so that no child has to: it all outlives any of them.

`objects.py`: semaphore, queue, stats objects, by name and recorded before they exist. `ports.py`:
packet sockets and their rings, one a port and worker. `descriptors.py`: room for all of them.
Begin with objects.py.
"""
