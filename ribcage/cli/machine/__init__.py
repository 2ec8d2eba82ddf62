"""What `ribcage doctor` tries here: `checks.py`, each in a throw-away child of `trial.py`.

Begin with checks.py.
"""
