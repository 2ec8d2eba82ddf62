"""The processes that remember: the supervisor, and control with its RIB. Imports shared alone."""
