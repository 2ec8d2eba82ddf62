"""What the router is studied with: topologies, probes, the demo, benchmarks, tables."""
