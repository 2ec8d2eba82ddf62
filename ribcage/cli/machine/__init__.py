"""What `ribcage doctor` tries on this machine: the checks, and the child they are tried in.

`checks.py` is what a router needs, `rights.py` what keeps its processes apart.
Begin with checks.py.
"""
