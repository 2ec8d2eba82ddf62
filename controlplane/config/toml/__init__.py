"""TOML with places: where each key and value stands, so that an error can point at it.

`syntax.py` reads, `positions.py` finds the places, `problems.py` is what an error is and how it
looks, `suggest.py` guesses what was meant. Pure.
Begin with positions.py.
"""
