"""`ribcage fault`: one fault in a running router that allows it, told as a story (lab/fault/).

Begin with command.py.
"""

from ribcage.cli.fault.command import register

__all__ = ["register"]
