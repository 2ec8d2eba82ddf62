"""`ribcage lab ...`: commands that make a lab of their own; what they run is in lab/.

Begin with chaos.py.
"""

from ribcage.cli.lab.chaos import register

__all__ = ["register"]
