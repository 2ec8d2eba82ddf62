"""`ribcage bench fib`: the FIB measured beside others in one run, and what it takes to trust it.

    table.py         the routing table and the update stream, from files, checked line by line
    streams.py       the addresses that are looked up, seeded
    build.py         the C programs in programs/, compiled when they are needed
    program.py       one contestant: a process of its own that obeys one line at a time
    contestants.py   which there are: engines and strategies of this build, peers of this machine
    measure.py       the interleaved repetitions
    binding.py       update to visible through the Python binding
    report.py        medians, ratios, JSON, CSV, text
    run.py           the whole run

Nothing here is part of a running router. It needs a C compiler and the source tree.
Begin with run.py.
"""
