"""What was changed in the kernel, written down first, so that anybody can take it back.

`journal.py` is the file, `settings.py` the sysctls, `filter.py` the packet filter's text and
`undo.py` the way back: by control at its stop, or by a program of its own when control was killed.
Begin with journal.py.
"""
