"""Ribcage: a router whose planes are separate processes."""

__version__ = "0.1.0"
