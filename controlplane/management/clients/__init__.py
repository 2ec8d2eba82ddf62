"""Who is served by the management socket, how many, in which order, and for how long.

`connection.py` is one client and its bounds, `admission.py` who is let in when places are short,
`turns.py` whose request is next. Used by the server and its dispatcher. Begin with connection.py.
"""
