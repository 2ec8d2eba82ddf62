"""How an answer reaches its reader: text that fits a screen, or one JSON document, never torn.

`output.py` is what a command writes to; `streams.py` and `interrupt.py` say what happens when the
reader leaves, the disk is full or Ctrl-C comes; `tables.py` and `units.py` make lines people read;
`misuse.py` says which word of a line is not one.
It knows no command and no router.
Begin with output.py.
"""
