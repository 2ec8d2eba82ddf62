"""What both planes agree on: names, segments, channel, events, stats, errors. Imports neither.

`process/` is what processes say to each other, `memory/` what they share. `plan.py` is the
configuration as values (`plan_changes.py`: what a reload can change), `management.py` the client
of the management socket, `filters.py` the packet filters. The C half is compiled into `_core`.

Addresses are values here and in control: objects of `ipaddress`, MACs 6 bytes (`addresses.py`, the
one codec). An errno becomes an error in `refusals.py` and nowhere else; `errors.py` is the one
error class, and `codes.py` says what each code means and what to do.

It may be imported by any process, so nothing here is heavy and nothing runs at import.
Begin with plan.py.
"""
