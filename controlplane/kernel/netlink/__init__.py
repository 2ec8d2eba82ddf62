"""The netlink wire: messages as values, the socket that hears them, and a deadline for each wait.

It asks and listens; what an answer means is the business of the room above.
Begin with monitor.py.
"""
