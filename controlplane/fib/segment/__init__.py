"""The FIB's memory, and the one process that may write it.

`guard.py` is ownership and the semaphore, `attach.py` takes a segment over or makes one with
`create.py`, `writer.py` is every change of it, `tables.py` the same in the values of this plane.
Begin with attach.py.
"""
