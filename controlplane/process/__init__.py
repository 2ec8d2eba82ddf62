"""Control as a process: one asyncio loop, in one of three states, until an orderly stop.

`control.py` is the loop's side: signals, messages, the exit status. `state.py` says what a state
is; `waiting.py`, `attached.py` and `running.py` are the three. `running.py` makes all parts of
the other rooms and ties them together: nothing below knows the process. `tables/` opens the tables,
heals and keeps them, `configuring.py` puts plans in force, `supervisor_link.py` is the channel,
`dump.py` and `logs.py` are for people.

Imports: management, routes, fib, rib, workers, kernel, shared.

It may take the control lock, own both segments and end the process. Nothing here blocks.
Begin with control.py.
"""
