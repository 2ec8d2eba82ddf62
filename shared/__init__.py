"""What both planes agree on: names, segments, channel, events, stats, errors. Imports neither.

Addresses are values here and in control: objects of `ipaddress`, MACs 6 bytes (addresses.py, the
one codec). An errno becomes an error in refusals.py and nowhere else; codes.py says what each code
means and what to do.
"""
