"""The config file: text in, a plan out, or every error at once with line, column and a hint.

`load.py` is the front door, `model.py` the keys, `types.py` their values, `compile.py` the plan.
`links.py`, `routes.py` and `limits.py` check what takes more than one key, `machine.py` is what
this host allows, `translate.py` puts pydantic's words into ours. `toml/` reads the text.

Imports: values, shared.

It runs in the command line and nowhere near a process that forks: pydantic is heavy. It reads the
file and the machine, and changes nothing.
Begin with load.py.
"""
