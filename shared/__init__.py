"""What both planes agree on: names, segments, channel, events, stats, errors. Imports neither.

`process/` is what processes say to each other, `memory/` what they share. `plan.py` is the
configuration as values (`plan_changes.py`: what a reload can change), `errors.py` the one error
class and the exit codes, `refusals.py` what an errno means, `addresses.py` the one codec of
addresses, `management.py` the client of the management socket, `filters.py` the
packet filters. The C half is compiled into `_core`.

It may be imported by any process, so nothing here is heavy and nothing runs at import.
Begin with plan.py.
"""
