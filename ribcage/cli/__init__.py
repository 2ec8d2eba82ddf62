"""The command line: a thin client of the management socket, one file an object."""
