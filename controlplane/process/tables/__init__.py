"""The two tables over the life of control: opened, healed, looked after, kept over a reboot.

`segments.py` opens or makes them, `healing.py` notices what happened to them and puts it right,
`housekeeping.py` looks after what a publish leaves, `checkpoints.py` writes routes into a file.
Begin with segments.py.
"""
