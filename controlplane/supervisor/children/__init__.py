"""The processes the supervisor keeps: a slot each, filled by a fork or by adoption.

`table.py` has the slots, `fork.py` makes a process, `lifecycle.py` is what follows a birth or a
death, `backoff.py` says when to try again. `adoption.py` takes over the living of a supervisor
that died. `health.py`, `watchdog.py` and `processes.py` look at them, `exits.py` reads how one
ended, and `helper.py` runs short programs. May fork, signal and wait; keeps no route.
Begin with table.py.
"""
