"""How `ribcage run` begins a router: what is loaded before the file is read; a daemon's verdict.

Begin with early.py.
"""
