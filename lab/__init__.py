"""What the router is studied with: topologies, probes, the demo, benchmarks, tables.

`demo/` is `make demo`, `topology/` makes networks of namespaces and routers in them, `probe/`
sends and receives, `bench/` measures, `tables.py` makes routing tables. `chaos/` breaks a router in
a lab at random and judges what follows, `fault/` breaks a running one once and tells the story. It
uses what the planes offer to everybody; no router needs it.
Begin with demo/demo.py.
"""
