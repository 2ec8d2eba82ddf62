"""What rooms hand each other: values without a socket, a segment or a clock.

`nexthop.py`: next-hop sets, and how one becomes a group. `topology.py`: ports and who is connected
to what. `wanted.py` and `neighbour.py`: what a source wants, what is known of a neighbour.
`addresses.py` and `parse.py` read what people write.

Imports: shared.

Pure; any process may import it.
Begin with nexthop.py.
"""
