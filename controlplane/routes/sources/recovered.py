"""Routes that a new RIB found in the FIB, for the moment in which nobody has announced them.

Whatever source announces the same prefix wins at once. Once all have spoken, what is left was
added at run time: see recovered.py of the room above.
"""

from ribcage.controlplane.routes.sources.contract import Source

RECOVERED = Source(7, "recovered", distance=254)
