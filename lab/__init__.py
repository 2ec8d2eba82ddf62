"""What the router is studied with: topologies, probes, the demo, benchmarks, tables.

`demo/` is `make demo`, `topology/` makes networks of namespaces and routers in them, `probe/`
sends and receives, `bench/` measures, `tables.py` makes routing tables. It uses what the planes
offer to everybody; no router needs it.
Begin with demo/demo.py.
"""
