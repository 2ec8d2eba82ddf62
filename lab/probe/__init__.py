"""Small programs that send and receive what the labs measure; each runs inside one host.

Run one with `python -m ribcage.lab.probe.NAME`; each prints one JSON document on stdout. They
exist because a minimal Debian has no ping, no traceroute and no paced, numbered stream. They
import the standard library alone, so that a host process starts quickly.
Begin with stream.py.
"""
