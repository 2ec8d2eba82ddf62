"""One TCP flow through the router and through the kernel's own forwarding, side by side.

    make bench            or   python -m ribcage.lab.bench_tcp --runs 5 --seconds 2

Both paths are built at once from the same parts: two hosts, one middle, veth with default
offloads. In one the middle is a Ribcage router, in the other the kernel forwards. Runs alternate,
so that noise of the machine meets both; the figure that counts is the ratio of medians. Prints a
table and the machine facts, or one JSON document with --json.
"""
