"""The processes that remember: the supervisor, and control with its RIB.

Rooms, and what each may import; nothing else, so there is an order to read them in, from the
bottom up. tests/test_architecture.py reads this table and holds the rooms to it.

    supervisor    ->  shared
    process       ->  management routes fib rib workers kernel shared
    management    ->  routes rib workers values shared
    routes        ->  fib rib workers kernel values shared
    fib           ->  rib values shared
    rib           ->  values shared
    workers       ->  values shared
    kernel        ->  shared
    config        ->  values shared
    values        ->  shared

    supervisor    forks all others, keeps their descriptors, keeps them alive
    process       control as a process: its states, its link to the supervisor, its end
    management    the socket that the command line talks to, and its methods
    routes        what changes routes: sources, links, clients; next-hop sets
    fib           from a changed best path to a published forwarding table
    rib           the routing table, in a segment that outlives control
    workers       the workers as control sees them: counters, events, who uses what
    kernel        links, addresses, neighbours; what is changed in the kernel, and undone
    config        the config file: every error at once, then a plan
    values        what rooms hand each other

A route is accepted in routes/requests.py, routes/loads.py or by a source of
routes/sources/table.py, and stored by rib/segment.py.
Begin with process/control.py.
"""
